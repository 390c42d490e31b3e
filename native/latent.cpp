// Latent attention as operations of a program: a product per head, rows appended to a store of the
// pages, and attention to them.
//
// With q = [n | r] per head and a cached row [c | s], a score is n' W_k c + r's: the query is taken
// to the latent space once (W_k'n), and what attention gathers there comes back once (W_v).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "program.h"

namespace wazn {
namespace {

int64_t align(int64_t bytes) { return (bytes + 63) & ~int64_t{63}; }

}  // namespace

int64_t grouped_scratch_bytes(int64_t columns, int64_t max_rows) {
  return align(max_rows * columns * 4) + align(max_rows * sizeof(Codes8)) +
         linear_scratch_bytes(columns, max_rows);
}

int64_t index_scratch_bytes(const LatentShape& shape, int64_t heads) {
  return 4 * (2 * kPage * latent_width(shape) + heads * kPage) + 64;
}

int64_t latent_scratch_bytes(const LatentShape& shape) {
  const int64_t width = latent_width(shape);
  return 4 * (kLatentRows * (width + 3 * shape.latent + kPage) + 2 * kPage * width) +
         3 * 8 * kLatentRows + 64;
}

std::vector<Program::RowGroup> Program::row_groups(int64_t rows_per_group) const {
  std::vector<RowGroup> groups;
  for (int32_t s = 0; s < step_.num_sequences; ++s)
    for (int32_t row = step_.row_starts[s], last = step_.row_starts[s + 1]; row < last;
         row += (int32_t)rows_per_group)
      groups.push_back({s, row, std::min((int32_t)rows_per_group, last - row)});
  return groups;
}

void Program::execute(const GroupedLinear& op, int index, int thread) {
  const int64_t rows = num_rows(index), parts = op.weight->count;
  const int64_t panels = num_panels(op.weight->matrix.rows);
  // As for products of one matrix: an even piece for each thread, or a part to whoever is free.
  if (rows <= kernels_->tile) {
    const Range mine = share(parts * panels, thread, pool_->size());
    for (int64_t first = mine.first, last; first < mine.last; first = last) {
      const int64_t begin = first / panels * panels;
      last = std::min(mine.last, begin + panels);
      multiply_part(op, rows, first / panels, {first - begin, last - begin}, thread);
    }
    return;
  }
  for (int64_t part; (part = next_task_[index].fetch_add(1)) < parts;)
    multiply_part(op, rows, part, {0, panels}, thread);
}

void Program::multiply_part(const GroupedLinear& op, int64_t rows, int64_t part, Range panels,
                            int thread) {
  const Activation &in = buffers_[op.in], &out = buffers_[op.out];
  const int64_t columns = in.columns, count = op.weight->count;
  uint8_t* scratch = scratch_[thread]->data();
  float* floats = (float*)scratch;
  Codes8* codes = (Codes8*)(scratch + align(max_rows_ * columns * 4));
  const bool is_float = reads_floats(*op.weight);
  for (int64_t row = 0; row < rows; ++row) {  // the rows of this part, side by side
    const int64_t from = row * count + part;
    if (is_float)
      std::memcpy(floats + row * columns, in.floats + from * columns, columns * sizeof(float));
    else
      codes[row] = in.codes[from];
  }
  const Activation x = {columns, floats, codes, nullptr, in.bits};
  const Matrix w = op.weight->expert(part);
  const Output target = {out.floats + part * w.rows, count * w.rows, nullptr, false};
  const auto kernel = exact_ ? kernels_->linear_exact : kernels_->linear;
  kernel(w, x, rows, panels.first, panels.last, target,
         (uint8_t*)codes + align(max_rows_ * sizeof(Codes8)));
}

void Program::execute(const AppendLatent& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const float* rotary =
        op.rotary == kNoBuffer ? nullptr : buffers_[op.rotary].floats + row * op.shape.rotary;
    layer_kernels().append_latent(buffers_[op.latent].floats + row * op.shape.latent, rotary,
                                  op.shape,
                                  cached_row(op.store, row_sequence_[row], row_position_[row]));
  }
}

// How many rows a query row sees: of the store of positions, and of the compressed ones.
int64_t Program::visible(const AttendLatent& op, int64_t row) const {
  const int64_t positions = row_position_[row] + int64_t{1};
  const int64_t selected = op.is_selected ? (int64_t)selected_[row].size() : -1;
  const int64_t own = op.window ? std::min(op.window, positions) : positions;
  if (op.entries < 0) return op.is_selected ? selected : own;
  return own + (op.is_selected ? selected : positions / stores_[op.entries].rate);
}

// The first `count` rows that a query row, or those that follow it in its group, may see.
void Program::list_rows(const AttendLatent& op, int64_t row, int64_t count,
                        std::vector<const uint8_t*>& cached) const {
  const int64_t sequence = row_sequence_[row], positions = row_position_[row] + int64_t{1};
  const int64_t first = op.window ? std::max(positions - op.window, int64_t{0}) : 0;
  const int64_t own = op.entries < 0 ? count : positions - first;
  cached.resize(count);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t place = i < own ? i : i - own;
    const int64_t index = op.is_selected && (i < own) == (op.entries < 0) ? selected_[row][place]
                          : i < own                                       ? first + i
                                                                          : place;
    cached[i] = cached_row(i < own ? op.store : op.entries, sequence, index);
  }
}

void Program::execute(const AttendLatent& op, int index, int thread) {
  const LatentShape& shape = op.shape;
  const bool is_plain = !op.is_selected && !op.window && op.entries < 0;
  const auto groups = row_groups(is_plain ? std::max(int64_t{1}, kLatentRows / op.heads) : 1);
  // Heads are divided among tasks as far as threads need; no bits depend on it.
  constexpr int64_t kFewestHeads = 8;
  const int64_t wanted = (2 * pool_->size() + (int64_t)groups.size() - 1) / (int64_t)groups.size();
  const int64_t slices = std::max(std::min(wanted, op.heads / kFewestHeads),
                                  (op.heads + kLatentRows - 1) / kLatentRows);
  const int64_t tasks = (int64_t)groups.size() * slices;
  std::vector<const uint8_t*> cached;
  for (int64_t task; (task = next_task_[index].fetch_add(1)) < tasks;) {
    const RowGroup& group = groups[groups.size() - 1 - task / slices];  // the longest first
    const Range heads = share(op.heads, (int)(task % slices), (int)slices);
    const int64_t row = group.first_row;
    const int64_t count = visible(op, row);
    list_rows(op, row, count + group.num_rows - 1, cached);
    const int64_t at = row * op.heads + heads.first;
    const float* rotary =
        op.rotary == kNoBuffer ? nullptr : buffers_[op.rotary].floats + at * shape.rotary;
    layer_kernels().attend_latent(
        {buffers_[op.query].floats + at * shape.latent, rotary,
         buffers_[op.out].floats + at * shape.latent, op.heads * shape.latent,
         op.heads * shape.rotary, group.num_rows, heads.last - heads.first, count, shape, op.scale,
         cached.data(), op.sinks.empty() ? nullptr : op.sinks.data() + heads.first},
        scratch_[thread]->data());
  }
}

void Program::execute(const Select& op, int index, int thread) {
  std::vector<const uint8_t*> cached;
  std::vector<float> scores;
  for (int64_t task; (task = next_task_[index].fetch_add(1)) < step_.rows;) {
    const int64_t row = step_.rows - 1 - task;
    const int64_t count = (row_position_[row] + int64_t{1}) / stores_[op.store].rate;
    std::vector<int32_t>& chosen = selected_[row];
    chosen.resize(count);
    std::iota(chosen.begin(), chosen.end(), 0);
    if (count <= op.top_k) continue;
    cached.resize(count);
    for (int64_t i = 0; i < count; ++i) cached[i] = cached_row(op.store, row_sequence_[row], i);
    scores.resize(align(count));
    layer_kernels().index_scores({buffers_[op.query].floats + row * op.heads * op.shape.latent,
                                  buffers_[op.weights].floats + row * op.heads, op.heads, count,
                                  op.shape, op.scale, cached.data(), scores.data()},
                                 scratch_[thread]->data());
    for (float& score : scores)  // comparisons need an order
      if (score != score) score = -INFINITY;
    std::nth_element(chosen.begin(), chosen.begin() + op.top_k, chosen.end(),
                     [&](int32_t a, int32_t b) {
                       return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
                     });
    chosen.resize(op.top_k);
    std::sort(chosen.begin(), chosen.end());
  }
}

void Program::execute(const LayerNorm& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t columns = width(op.x);
  for (int64_t row = rows.first; row < rows.last; ++row) {
    float* x = buffers_[op.x].floats + row * columns;
    layer_kernels().layer_norm(x, op.weight.data(), op.bias.data(), columns, op.eps, x);
  }
}

}  // namespace wazn
