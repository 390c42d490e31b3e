#include "program.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "placement.h"

namespace wazn {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void reject(const std::string& what) { throw std::invalid_argument(what); }

std::unique_ptr<Memory> allocate(size_t bytes) {
  return std::unique_ptr<Memory>(Memory::allocate(bytes));
}

int64_t align(int64_t bytes) { return (bytes + 63) & ~int64_t{63}; }

}  // namespace

// An expanded panel of floats, or a chunk of it as codes and scales with the sums of all rows.
int64_t linear_scratch_bytes(int64_t columns, int64_t max_rows) {
  return columns * kPanelRows * 4 + max_rows * kPanelRows * 4 + 65536;
}

Program::Program(const Kernels* kernels, std::shared_ptr<Pool> pool, int64_t max_rows, bool exact,
                 KvShape kv)
    : kernels_(kernels),
      pool_(std::move(pool)),
      max_rows_(max_rows),
      exact_(exact),
      kv_(kv),
      page_bytes_(kv.layers * kv.heads * kv_page_bytes(kv.head_dim, kv.format)),
      scratch_bytes_(attention_scratch_bytes(kv.head_dim)) {}

BufferId Program::add_buffer(int64_t columns, int64_t bits, int64_t copies) {
  const int64_t rows = max_rows_ * copies;
  const int64_t blocks = columns / 32, spans = num_scale_spans(columns);
  const int64_t block_bytes = bits == 8 ? sizeof(Block8) : sizeof(Block16);
  const int64_t row_bytes = bits ? align(blocks * block_bytes) + align(spans * 4) : 0;
  buffer_memory_.push_back(allocate(align(rows * columns * 4) + rows * row_bytes + 64));
  uint8_t* p = buffer_memory_.back()->data();
  auto take = [&p]<class T>(T*& target, int64_t count) {
    target = (T*)std::exchange(p, p + align(count * sizeof(T)));
  };
  float* floats;
  take(floats, rows * columns);
  auto take_codes = [&](auto& codes, int64_t rows) {
    for (auto& row : codes.emplace_back(rows)) {
      take(row.blocks, blocks);
      take(row.scales, spans);
    }
  };
  take_codes(codes_, bits == 8 ? rows : 0);
  take_codes(wide_codes_, bits == 16 ? rows : 0);
  buffers_.push_back({columns, floats, codes_.back().data(), wide_codes_.back().data(), bits});
  copies_.push_back(copies);
  return (BufferId)buffers_.size() - 1;
}

int64_t Program::add_store(int64_t bytes, int64_t rate) {
  stores_.push_back({page_bytes_, bytes, rate});
  page_bytes_ += align((kPage + rate - 1) / rate * bytes);
  return num_stores() - 1;
}

int64_t Program::add_state(int64_t floats) {
  return std::exchange(state_floats_, state_floats_ + align(floats * 4) / 4);
}

void Program::add(Operation operation) {
  if (auto* attend = std::get_if<Attend>(&operation)) {
    add_view(*attend);
    needs_factors_ |= attend->is_tempered;
  }
  if (auto* embed = std::get_if<Embed>(&operation)) weights_.push_back(embed->table->memory);
  if (auto* linear = std::get_if<Linear>(&operation))
    for (const Product& product : linear->products)
      reserve(*product.weight, linear_scratch_bytes(product.weight->matrix.columns, max_rows_));
  if (auto* route = std::get_if<Route>(&operation)) {
    reserve(*route->weight, linear_scratch_bytes(route->weight->matrix.columns, max_rows_));
    routing_.reserve(max_rows_, route->choice);
    if (!route->table.empty())
      routed_tokens_ = std::min(routed_tokens_, (int64_t)route->table.size() / route->choice.top_k);
  }
  if (auto* up = std::get_if<ExpertsUp>(&operation))
    for (const auto& weight : {up->gate, up->up})
      reserve(*weight, expert_scratch_bytes(weight->matrix.columns, max_rows_));
  if (auto* down = std::get_if<ExpertsDown>(&operation))
    reserve(*down->weight, expert_scratch_bytes(down->weight->matrix.columns, max_rows_));
  const auto needs_angles = [this](int64_t table, int64_t width) {
    rope_widths_.resize(std::max<size_t>(rope_widths_.size(), table + 1));
    rope_widths_[table] = width;
  };
  if (auto* rope = std::get_if<Rope>(&operation)) needs_angles(rope->table, rope->width);
  if (auto* compress = std::get_if<Compress>(&operation))
    needs_angles(compress->table, compress->rope.width);
  if (auto* grouped = std::get_if<GroupedLinear>(&operation))
    reserve(*grouped->weight, grouped_scratch_bytes(grouped->weight->matrix.columns, max_rows_));
  if (auto* latent = std::get_if<AttendLatent>(&operation))
    scratch_bytes_ = std::max(scratch_bytes_, latent_scratch_bytes(latent->shape));
  if (auto* select = std::get_if<Select>(&operation)) {
    selected_.resize(max_rows_);
    scratch_bytes_ = std::max(scratch_bytes_, index_scratch_bytes(select->shape, select->heads));
  }
  on_wanted_rows_.push_back(gathered_);
  gathered_ |= std::holds_alternative<Gather>(operation);
  operations_.push_back(std::move(operation));
}

void Program::reserve(const Weight& weight, int64_t scratch_bytes) {
  weights_.push_back(weight.memory);
  scratch_bytes_ = std::max(scratch_bytes_, scratch_bytes);
}

void Program::end_segment(const std::string& name) {
  segment_names_.push_back(name);
  segment_ends_.push_back((int)operations_.size());
  std::sort(weights_.begin(), weights_.end());
  weights_.erase(std::unique(weights_.begin(), weights_.end()), weights_.end());
  next_task_ = std::make_unique<std::atomic<int64_t>[]>(operations_.size());
  scratch_.clear();
  for (int thread = 0; thread < pool_->size(); ++thread)
    scratch_.push_back(allocate(scratch_bytes_));
}

int64_t Program::copied_bytes() { return wazn::copied_bytes(operations_); }

void Program::copy_weights() {
  wazn::copy_weights(operations_, *pool_);
  check_weights();
}

void Program::open_cache(int64_t num_pages, int64_t num_slots) {
  cache_ = allocate(num_pages * page_bytes_);
  num_pages_ = num_pages;
  states_ = allocate(num_slots * state_bytes());
  num_slots_ = num_slots;
  slot_positions_.assign(num_slots, 0);
}

void Program::set_factors(const float* factors, int64_t num_positions) {
  factors_ = factors;
  num_factors_ = num_positions;
}

void Program::set_angles(int64_t table, const float* angles, int64_t num_positions, int64_t width) {
  angles_.resize(std::max<size_t>(angles_.size(), table + 1));
  angles_[table] = {angles, num_positions, width};
}

uint8_t* Program::cached_row(int64_t store, int64_t sequence, int64_t index) const {
  const Store& s = stores_[store];
  const int64_t page = (s.rate * (index + 1) - 1) / kPage;
  const int32_t id = step_.page_tables[sequence * step_.table_width + page];
  return cache_->data() + id * page_bytes_ + s.offset +
         (index - page * kPage / s.rate) * s.row_bytes;
}

float* Program::state(int64_t sequence, int64_t offset) const {
  return (float*)states_->data() + step_.state_slots[sequence] * state_floats_ + offset;
}

void Program::check(const Step& step) const {
  if (step.rows < 1 || step.rows > max_rows_)
    reject("a step takes 1 to " + std::to_string(max_rows_) + " rows, not " +
           std::to_string(step.rows));
  if (step.num_sequences < 1 || step.row_starts[0] != 0 ||
      step.row_starts[step.num_sequences] != step.rows)
    reject("row_starts must begin with 0 and end with the number of rows");
  for (size_t table = 0; table < rope_widths_.size(); ++table)
    if (rope_widths_[table] &&
        (table >= angles_.size() || angles_[table].width != rope_widths_[table]))
      reject("there are no angles of the width " + std::to_string(rope_widths_[table]));
  int64_t num_positions = INT64_MAX;
  for (const Angles& table : angles_)
    if (table.width) num_positions = std::min(num_positions, table.num_positions);
  if (needs_factors_) num_positions = std::min(num_positions, num_factors_);
  if (num_positions == INT64_MAX) num_positions = 0;
  for (int64_t s = 0; s < step.num_sequences; ++s) {
    const int64_t count = step.row_starts[s + 1] - (int64_t)step.row_starts[s];
    const int64_t first = step.first_positions[s], last = first + count - 1;
    if (count < 1 || first < 0 || last >= num_positions || last / kPage >= step.table_width)
      reject("sequence " + std::to_string(s) + " has rows outside its positions or pages");
    for (int64_t p = 0; p <= last / kPage; ++p) {
      const int32_t id = step.page_tables[s * step.table_width + p];
      if (id < 0 || id >= num_pages_) reject("page " + std::to_string(id) + " does not exist");
    }
  }
  for (int64_t i = 0; i < step.num_wanted; ++i)
    if (step.wanted[i] < 0 || step.wanted[i] >= step.rows)
      reject("wanted row " + std::to_string(step.wanted[i]) + " is not in the batch");
  if (const Embed* embed = std::get_if<Embed>(&operations_.at(0)))
    for (int64_t i = 0; i < step.rows; ++i)
      if (step.token_ids[i] < 0 || step.token_ids[i] >= embed->table->matrix.rows ||
          step.token_ids[i] >= routed_tokens_)
        reject("token id " + std::to_string(step.token_ids[i]) + " is outside the vocabulary of " +
               std::to_string(embed->table->matrix.rows));
}

// A state goes on from where it was left, or begins anew at position 0.
void Program::check_states(const Step& step) const {
  if (!step.state_slots) reject("the batch names no state slots, and the model has a state");
  std::vector<bool> is_taken(num_slots_);
  for (int64_t s = 0; s < step.num_sequences; ++s) {
    const int32_t slot = step.state_slots[s];
    if (slot < 0 || slot >= num_slots_ || is_taken[slot])
      reject("state slot " + std::to_string(slot) + " does not exist or is named twice");
    is_taken[slot] = true;
    if (step.first_positions[s] && step.first_positions[s] != slot_positions_[slot])
      reject("the state in slot " + std::to_string(slot) + " goes on from position " +
             std::to_string(slot_positions_[slot]) + ", not " +
             std::to_string(step.first_positions[s]));
  }
}

void Program::prepare(const Step& step) {
  step_ = step;
  row_sequence_.resize(step.rows);
  row_position_.resize(step.rows);
  for (int32_t s = 0; s < step.num_sequences; ++s) {
    const int32_t first = step.row_starts[s], last = step.row_starts[s + 1];
    for (int32_t row = first; row < last; ++row) {
      row_sequence_[row] = s;
      row_position_[row] = step.first_positions[s] + row - first;
    }
  }
  for (View& view : views_) lay_tiles(view);
  for (size_t i = 0; i < operations_.size(); ++i) next_task_[i].store(0);
}

void Program::run(int first_segment, int last_segment, const Step& step) {
  if (first_segment < 0 || first_segment >= last_segment ||
      last_segment > (int)segment_ends_.size())
    reject("there is no such range of segments");
  check(step);
  const bool advances = state_floats_ && first_segment == 0;
  if (advances) check_states(step);
  prepare(step);
  const int first = first_segment == 0 ? 0 : segment_ends_[first_segment - 1];
  const int last = segment_ends_[last_segment - 1];
  pool_->run([this, first, last](int thread) { work(thread, first, last); });
  for (int64_t s = 0; advances && s < step.num_sequences; ++s)
    slot_positions_[step.state_slots[s]] =
        step.first_positions[s] + step.row_starts[s + 1] - step.row_starts[s];
  check_weights();
}

void Program::check_weights() const {
  for (const auto& memory : weights_)
    if (memory->is_lost())
      throw std::runtime_error(
          "the packed weights changed or shrank on disk while they were in use; load the model "
          "again");
}

void Program::work(int thread, int first, int last) {
  const bool is_timed = thread == 0 && !seconds_.empty();
  Clock::time_point start = Clock::now();
  for (int i = first; i < last; ++i) {
    std::visit([&](const auto& op) { execute(op, i, thread); }, operations_[i]);
    if (i + 1 < last && needs_barrier(i)) pool_->barrier();
    if (!is_timed) continue;
    const Clock::time_point now = Clock::now();
    seconds_[i] += std::chrono::duration<double>(now - start).count();
    start = now;
  }
}

// Operations that read and write only the rows of their thread follow each other freely.
bool Program::is_row_local(int index) const {
  const Operation& op = operations_[index];
  return !std::holds_alternative<Linear>(op) && !std::holds_alternative<Attend>(op) &&
         !std::holds_alternative<GatedProduct>(op) && !std::holds_alternative<Gather>(op) &&
         !std::holds_alternative<Route>(op) && !std::holds_alternative<ExpertsUp>(op) &&
         !std::holds_alternative<ExpertsDown>(op) && !std::holds_alternative<GroupedLinear>(op) &&
         !std::holds_alternative<AttendLatent>(op) && !std::holds_alternative<Compress>(op) &&
         !std::holds_alternative<KeepRows>(op) && !std::holds_alternative<Select>(op) &&
         !std::holds_alternative<CausalConv>(op) && !std::holds_alternative<DeltaRule>(op) &&
         !(std::holds_alternative<Scale>(op) && std::get<Scale>(op).x == kLogits);
}

bool Program::needs_barrier(int index) const {
  return !is_row_local(index) || !is_row_local(index + 1);
}

int64_t Program::num_rows(int index) const {
  return on_wanted_rows_[index] ? step_.num_wanted : step_.rows;
}

void Program::quantize_row(BufferId id, int64_t row) {
  for (int64_t part = row * copies_[id]; part < (row + 1) * copies_[id]; ++part)
    quantize_part(id, part);
}

void Program::quantize_part(BufferId id, int64_t part) {
  quantize_columns(id, part, 0, buffers_[id].columns);
}

// Columns from the beginning of a scale span on.
void Program::quantize_columns(BufferId id, int64_t part, int64_t start, int64_t count) {
  const Activation& b = buffers_[id];
  const float* x = b.floats + part * b.columns + start;
  if (b.bits == 8) kernels_->quantize(x, count, b.codes[part].from(start));
  if (b.bits == 16) kernels_->quantize_wide(x, count, b.wide_codes[part].from(start));
}

void Program::execute(const Embed& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const Activation& out = buffers_[op.out];
  for (int64_t row = rows.first; row < rows.last; ++row)
    kernels_->dequantize_row(op.table->matrix, step_.token_ids[row],
                             out.floats + row * out.columns);
}

void Program::execute(const RmsNorm& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const Activation &in = buffers_[op.in], &out = buffers_[op.out];
  const int64_t width = in.columns / op.heads;
  for (int64_t row = rows.first; row < rows.last; ++row) {
    for (int64_t h = 0; h < op.heads; ++h)
      kernels_->rms_norm(in.floats + row * in.columns + h * width, op.weight.data(), width, op.eps,
                         out.floats + row * out.columns + h * width);
    quantize_row(op.out, row);
  }
}

void Program::execute(const Linear& op, int index, int thread) {
  const int64_t rows = num_rows(index);
  // One pass over the weights is bound by memory: split evenly, in one piece per thread. More are
  // bound by computing: split by panel, whoever is free takes the next.
  if (rows <= kernels_->tile)
    return multiply(op, rows, own_panels(op, thread, pool_->size()), thread);
  const int64_t total = own_panels(op, 0, 1).last;
  while (true) {
    const Range panels = take(next_task_[index], total, pool_->size());
    if (panels.first == panels.last) return;
    multiply(op, rows, panels, thread);
  }
}

// Some panels of the products laid end to end.
void Program::multiply(const Linear& op, int64_t rows, Range panels, int thread) {
  const auto kernel = exact_ ? kernels_->linear_exact : kernels_->linear;
  split(op.products, panels, [&](const Product& product, Range own) {
    const bool to_result = product.out == kLogits;
    const Output out = {to_result ? step_.result : buffers_[product.out].floats,
                        to_result ? step_.result_columns : width(product.out),
                        product.bias.empty() ? nullptr : product.bias.data(), product.accumulate};
    kernel(product.weight->matrix, buffers_[op.in], rows, own.first, own.last, out,
           scratch_[thread]->data());
  });
}

void Program::execute(const Rope& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  float* x = buffers_[op.x].floats + op.offset;
  const RopeShape shape = {op.heads, op.head_dim, op.width, op.interleaved, op.inverse};
  for (int64_t row = rows.first; row < rows.last; ++row)
    kernels_->rope(x + row * op.heads * op.head_dim,
                   angles_[op.table].pairs + row_position_[row] * op.width, shape);
}

void Program::glu(float* gate, float* up, int64_t columns, const Glu& how, float* out) const {
  switch (how.kind) {
    case GluKind::kSilu:
      if (how.limit > 0.0f) {
        layer_kernels().clamp(gate, columns, -INFINITY, how.limit);
        layer_kernels().clamp(up, columns, -how.limit, how.limit);
      }
      return kernels_->swiglu(gate, up, columns, out);
    case GluKind::kGeluTanh:
      return layer_kernels().geglu(gate, up, columns, out);
    case GluKind::kClamped:
      return layer_kernels().clamped_glu(gate, up, columns, how.limit, out);
  }
}

// Threads share the scale spans of all rows, so that a row alone has them all at work.
void Program::execute(const GatedProduct& op, int index, int thread) {
  const Activation &gate = buffers_[op.gate], &up = buffers_[op.up], &out = buffers_[op.out];
  const int64_t columns = out.columns, spans = num_scale_spans(columns);
  const Range own = share(num_rows(index) * spans, thread, pool_->size());
  for (int64_t span = own.first; span < own.last;) {
    const int64_t row = span / spans, last = std::min(own.last, (row + 1) * spans);
    const int64_t start = span % spans * kScaleSpan;
    const int64_t count = std::min((last - row * spans) * kScaleSpan, columns) - start;
    const int64_t offset = row * columns + start;
    glu(gate.floats + offset, up.floats + offset, count, op.how, out.floats + offset);
    quantize_columns(op.out, row, start, count);
    span = last;
  }
}

void Program::execute(const SigmoidGate& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t n = width(op.out);
  for (int64_t row = rows.first; row < rows.last; ++row) {
    kernels_->gate(buffers_[op.gate].floats + row * n, buffers_[op.in].floats + row * n, n,
                   buffers_[op.out].floats + row * n);
    quantize_row(op.out, row);
  }
}

void Program::execute(const Quantize& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  for (int64_t row = rows.first; row < rows.last; ++row) quantize_row(op.x, row);
}

void Program::execute(const Gather& op, int, int thread) {
  const Range rows = share(step_.num_wanted, thread, pool_->size());
  const Activation &in = buffers_[op.in], &out = buffers_[op.out];
  for (int64_t row = rows.first; row < rows.last; ++row)
    std::memcpy(out.floats + row * out.columns, in.floats + step_.wanted[row] * in.columns,
                in.columns * sizeof(float));
}

void Program::execute(const Emit& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const Activation& in = buffers_[op.in];
  for (int64_t row = rows.first; row < rows.last; ++row)
    std::memcpy(step_.result + row * step_.result_columns, in.floats + row * in.columns,
                in.columns * sizeof(float));
}

}  // namespace wazn
