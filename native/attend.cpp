// Attention over KV pages as operations of a program: what is appended to them, and how a step's
// rows are divided into tasks. Operations that reach equally far back share a view: the same tasks.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "program.h"

namespace wazn {

int64_t attention_scratch_bytes(int64_t head_dim) {
  return 4 * (4 * kAttentionRows * head_dim + kAttentionRows * kPage + kPage * head_dim) +
         16 * kAttentionRows + 64;
}

uint8_t* Program::page(int64_t layer, int64_t id) const {
  return cache_->data() + id * page_bytes_ +
         layer * kv_.heads * kv_page_bytes(kv_.head_dim, kv_.format);
}

void Program::execute(const AppendKv& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t width = kv_.heads * kv_.head_dim;
  const int64_t bytes = kv_page_bytes(kv_.head_dim, kv_.format);
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const int64_t position = row_position_[row];
    const int32_t id = step_.page_tables[row_sequence_[row] * step_.table_width + position / kPage];
    for (int64_t h = 0; h < kv_.heads; ++h)
      kernels_->append_kv(buffers_[op.key].floats + row * width + h * kv_.head_dim,
                          buffers_[op.value].floats + row * width + h * kv_.head_dim, kv_.head_dim,
                          position % kPage, kv_.format, page(op.layer, id) + h * bytes);
  }
}

// A view with the operation's reach, and room for its scratch.
void Program::add_view(const Attend& op) {
  if (op.heads % kv_.heads || op.heads / kv_.heads > kAttentionRows || kv_.head_dim % 16)
    throw std::invalid_argument(
        "attention takes a head size that is a multiple of 16 and at most " +
        std::to_string(kAttentionRows) + " query heads per KV head, not " +
        std::to_string(op.heads) + " query and " + std::to_string(kv_.heads) +
        " KV heads of size " + std::to_string(kv_.head_dim));
  const int64_t group = op.heads / kv_.heads;
  if (!views_.empty() && views_[0].group != group)
    throw std::invalid_argument("all layers have the same number of query heads");
  for (const View& view : views_)
    if (view.reach == op.reach) return;
  views_.push_back({op.reach, group, {}, {}, {}, {}});
}

Program::View& Program::view(const Reach& reach) {
  for (View& view : views_)
    if (view.reach == reach) return view;
  throw std::logic_error("every reach has its view");
}

// The tasks of a step.
void Program::lay_tiles(View& view) {
  view.tiles.clear();
  view.partials.clear();
  view.row_partials.assign(step_.rows, -1);
  view.row_parts.resize(step_.rows);
  const int32_t rows_per_tile = (int32_t)(kAttentionRows / view.group);
  for (int32_t s = 0; s < step_.num_sequences; ++s)
    for (int32_t row = step_.row_starts[s], last = step_.row_starts[s + 1]; row < last;
         row += rows_per_tile)
      add_tiles(view, s, row, std::min(rows_per_tile, last - row));
  // The longest tasks first, so that all threads finish together.
  const auto work = [&](const Tile& t) {
    const Range pages = this->pages(t, view.reach);
    return (pages.last - pages.first) * t.num_rows;
  };
  std::stable_sort(view.tiles.begin(), view.tiles.end(),
                   [&](const Tile& a, const Tile& b) { return work(a) > work(b); });
}

// Rows that attend together: as one task, or, for a row alone, as a task for each chunk of
// positions or each few blocks of the only chunk, so that threads share even a single sequence
// evenly. A chunk stays whole where the heads of all sequences divide evenly, too.
void Program::add_tiles(View& view, int32_t sequence, int32_t first_row, int32_t num_rows) {
  constexpr int32_t kBlocksPerTask = 2, kChunk = (int32_t)kChunkPages;
  const Range seen = seen_pages(view.reach, first_row, num_rows);
  const int32_t first = (int32_t)seen.first, last = (int32_t)seen.last;
  const int32_t first_chunk = first / kChunk, last_chunk = (last - 1) / kChunk + 1;
  const bool is_one_chunk = last_chunk - first_chunk == 1;
  const bool is_even = step_.num_sequences * kv_.heads % pool_->size() == 0;
  if (num_rows > 1 || (is_one_chunk && is_even) || last - first <= kBlocksPerTask) {
    view.tiles.push_back({sequence, first_row, num_rows, kChunk, first_chunk, last_chunk, -1});
    return;
  }
  const int32_t first_part = is_one_chunk ? first : first_chunk;
  const int32_t last_part = is_one_chunk ? last : last_chunk;
  const int32_t step = is_one_chunk ? kBlocksPerTask : 1;
  const int64_t part_floats = kv_.heads * view.group * (kv_.head_dim + 16);
  const int64_t start = (int64_t)view.partials.size();
  view.row_partials[first_row] = start;
  view.row_parts[first_row] = last_part - first_part;
  for (int32_t part = first_part; part < last_part; part += step)
    view.tiles.push_back({sequence, first_row, num_rows, is_one_chunk ? 1 : kChunk, part,
                          std::min(part + step, last_part),
                          start + (part - first_part) * part_floats});
  view.partials.resize(start + (last_part - first_part) * part_floats);
}

// The pages of which rows of one sequence see something, and those of them that a task reads.
Range Program::seen_pages(const Reach& reach, int32_t first_row, int32_t num_rows) const {
  const int64_t position = row_position_[first_row];
  return {first_seen(reach, position) / kPage, (position + num_rows - 1) / kPage + 1};
}
Range Program::pages(const Tile& tile, const Reach& reach) const {
  const Range seen = seen_pages(reach, tile.first_row, tile.num_rows);
  const int64_t part = tile.part_pages;
  return {std::max(tile.first_part * part, seen.first), std::min(tile.last_part * part, seen.last)};
}

void Program::execute(const Attend& op, int index, int thread) {
  View& view = this->view(op.reach);
  const Activation &query = buffers_[op.query], &out = buffers_[op.out];
  const int64_t group = view.group, tasks = (int64_t)view.tiles.size() * kv_.heads;
  const int64_t bytes = kv_page_bytes(kv_.head_dim, kv_.format);
  const auto head_page = [&](int64_t task, int64_t p) {
    const int64_t row = view.tiles[task / kv_.heads].sequence * step_.table_width;
    return page(op.layer, step_.page_tables[row + p]) + task % kv_.heads * bytes;
  };
  std::vector<const uint8_t*> pages(step_.table_width);
  for (int64_t task; (task = next_task_[index].fetch_add(1)) < tasks;) {
    const Tile& tile = view.tiles[task / kv_.heads];
    const int64_t head = task % kv_.heads;
    const Range own = this->pages(tile, op.reach);
    for (int64_t p = own.first; p < own.last; ++p) pages[p] = head_page(task, p);
    const int64_t next = std::min(task + pool_->size(), tasks - 1);  // if threads take turns
    const int64_t offset = tile.first_row * query.columns + head * group * kv_.head_dim;
    float* partials = tile.partials < 0 ? nullptr
                                        : view.partials.data() + tile.partials +
                                              head * group * (kv_.head_dim + 16);
    kernels_->attend({query.floats + offset,
                      out.floats + offset,
                      query.columns,
                      tile.num_rows,
                      row_position_[tile.first_row],
                      group,
                      kv_.head_dim,
                      op.scale,
                      kv_.format,
                      pages.data(),
                      head_page(next, this->pages(view.tiles[next / kv_.heads], op.reach).first),
                      tile.part_pages,
                      tile.first_part,
                      tile.last_part,
                      partials,
                      op.heads * (kv_.head_dim + 16),
                      op.reach,
                      op.softcap,
                      op.sinks.empty() ? nullptr : op.sinks.data() + head * group,
                      op.is_tempered ? factors_ + row_position_[tile.first_row] : nullptr},
                     scratch_[thread]->data());
  }
}

void Program::execute(const MergeParts& op, int index, int thread) {
  const View& view = this->view(op.reach);
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t width = kv_.head_dim + 16;
  for (int64_t row = rows.first; row < rows.last; ++row)
    for (int64_t h = 0; h < op.heads && view.row_partials[row] >= 0; ++h)
      kernels_->merge_parts(
          {view.partials.data() + view.row_partials[row] + h * width, view.row_parts[row],
           op.heads * width, kv_.head_dim, op.sinks.empty() ? nullptr : op.sinks.data() + h},
          buffers_[op.out].floats + row * op.heads * kv_.head_dim + h * kv_.head_dim);
}

}  // namespace wazn
