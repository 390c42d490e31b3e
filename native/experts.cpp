// Mixture of experts: a step's rows are grouped by expert, each expert multiplies its rows in one
// product, and the results return to their rows in ascending order of experts. Three operations
// with a barrier after each:
//
//   Route        scores, choice and counting sort
//   ExpertsUp    tasks (expert, panels) over all experts: gate x and up x multiplied, then
//   quantised ExpertsDown  tasks (panels) over the output: each sums its columns over all experts
#include <algorithm>
#include <cstring>

#include "placement.h"
#include "program.h"

namespace wazn {
namespace {

// So few rows that memory bounds the experts: every thread gets one piece of equal size.
constexpr int64_t kFewRows = 8;
constexpr int64_t kTaskPanels = 4;  // long enough to stream, short enough to balance

int64_t align(int64_t bytes) { return (bytes + 63) & ~int64_t{63}; }

// Panels [first, last) as a matrix of their own.
Matrix slice(const Matrix& w, Range panels) {
  return {w.data + panels.first * panel_bytes(w.layout, w.columns),
          std::min(w.rows, panels.last * kPanelRows) - panels.first * kPanelRows, w.columns,
          w.layout};
}

Activation from_row(const Activation& x, int64_t row) {
  return {x.columns, x.floats + row * x.columns, x.codes + row, nullptr, x.bits};
}

// Where the biases of some columns are; null: there are none.
const float* bias_at(const std::vector<float>& biases, int64_t index) {
  return biases.empty() ? nullptr : biases.data() + index;
}

}  // namespace

// What a thread needs besides the kernel's own scratch: products of gate and up (or down) of as
// many panels as fit, and the quantised rows of an expert.
struct Program::ExpertScratch {
  float *first, *second;
  Codes8* rows;
  uint8_t* kernel;

  ExpertScratch(uint8_t* p, int64_t max_rows)
      : first((float*)p),
        second(first + max_rows * kPanelRows),
        rows((Codes8*)(second + max_rows * kPanelRows)),
        kernel((uint8_t*)rows + align(max_rows * sizeof(Codes8))) {}
};

int64_t expert_scratch_bytes(int64_t columns, int64_t max_rows) {
  return max_rows * kPanelRows * 8 + align(max_rows * sizeof(Codes8)) +
         linear_scratch_bytes(columns, max_rows);
}

Matrix Weight::expert(int64_t index) const {
  Matrix one = matrix;
  one.data += index * num_panels(matrix.rows) * panel_bytes(matrix.layout, matrix.columns);
  return one;
}

void Program::execute(const Route& op, int index, int thread) {
  const auto kernel = exact_ ? kernels_->linear_exact : kernels_->linear;
  const Activation& scores = buffers_[op.scores];
  const Matrix& w = op.weight->matrix;
  const int64_t rows = num_rows(index);
  const auto choose = [&](int64_t row) {
    float* mine = scores.floats + row * scores.columns;
    const auto pick = [&] {
      if (op.table.empty())
        routing_.choose(row, mine, op.choice);
      else
        routing_.assign(row, op.table.data() + step_.token_ids[row] * op.choice.top_k, op.choice);
    };
    if (op.choice.softcap > 0.0f)
      layer_kernels().scale(mine, scores.columns, 1.0f, op.choice.softcap);
    if (op.choice.by_logits) pick();
    switch (op.choice.scoring) {
      case Scoring::kSoftmax:
        kernels_->softmax(mine, scores.columns, mine);
        break;
      case Scoring::kSigmoid:
        kernels_->sigmoid(mine, scores.columns, mine);
        break;
      case Scoring::kSqrtSoftplus:
        kernels_->sqrt_softplus(mine, scores.columns, mine);
        break;
    }
    if (!op.choice.by_logits) pick();
    routing_.weigh(row, mine, op.choice);
  };
  const bool is_split = rows <= kernels_->tile;  // the matrix, not the rows: see Linear
  const Range all = {0, num_panels(w.rows)};
  const Range mine =
      is_split ? own_panels(w, thread, pool_->size()) : share(rows, thread, pool_->size());
  if (mine.first < mine.last) {
    const Range panels = is_split ? mine : all;
    const int64_t first = is_split ? 0 : mine.first, count = is_split ? rows : mine.last - first;
    const Output out = {scores.floats + first * scores.columns, scores.columns, bias_at(op.bias, 0),
                        false};
    kernel(w, from_row(buffers_[op.in], first), count, panels.first, panels.last, out,
           scratch_[thread]->data());
    if (!is_split)
      for (int64_t row = mine.first; row < mine.last; ++row) choose(row);
  }
  if (next_task_[index].fetch_add(1) + 1 < pool_->size()) return;
  // The last thread to come has all scores before it.
  if (is_split)
    for (int64_t row = 0; row < rows; ++row) choose(row);
  routing_.sort(rows, op.choice);
}

void Program::execute(const ExpertsUp& op, int index, int thread) {
  if (op.gathered != kNoBuffer) {
    gather_pairs(op, thread);
    pool_->barrier();
  }
  const int64_t panels = num_panels(op.gate->matrix.rows), active = routing_.num_active();
  if (num_rows(index) <= kFewRows) {
    const Range mine = share(active * panels, thread, pool_->size());
    for (int64_t first = mine.first, last; first < mine.last; first = last) {
      const int64_t begin = first / panels * panels;
      last = std::min(mine.last, begin + panels);
      expand(op, routing_.active(first / panels), {first - begin, last - begin}, thread);
    }
    return;
  }
  const int64_t pieces = (panels + kTaskPanels - 1) / kTaskPanels;
  for (int64_t task; (task = next_task_[index].fetch_add(1)) < active * pieces;) {
    const int64_t first = task % pieces * kTaskPanels;
    const Range piece = {first, std::min(first + kTaskPanels, panels)};
    expand(op, routing_.active(task / pieces), piece, thread);
  }
}

// Float products read rows side by side: copies them into the order of the pairs.
void Program::gather_pairs(const ExpertsUp& op, int thread) {
  const Activation &in = buffers_[op.in], &out = buffers_[op.gathered];
  const Range pairs = share(routing_.num_pairs(), thread, pool_->size());
  for (int64_t pair = pairs.first; pair < pairs.last; ++pair)
    std::memcpy(out.floats + pair * out.columns, in.floats + routing_.row(pair) * in.columns,
                in.columns * sizeof(float));
}

// Some panels of one expert for all its rows.
void Program::expand(const ExpertsUp& op, int64_t expert, Range panels, int thread) {
  const auto kernel = exact_ ? kernels_->linear_exact : kernels_->linear;
  const Group group = routing_.group(expert);
  const Activation &in = buffers_[op.in], &out = buffers_[op.out];
  const ExpertScratch scratch(scratch_[thread]->data(), max_rows_);
  const float* gathered =
      op.gathered == kNoBuffer ? nullptr : buffers_[op.gathered].floats + group.first * in.columns;
  const Activation x = {in.columns, (float*)gathered, scratch.rows, nullptr, in.bits};
  for (int64_t i = 0; in.bits == 8 && i < group.count; ++i)
    scratch.rows[i] = in.codes[routing_.row(group.first + i)];
  const int64_t step = std::max(int64_t{1}, max_rows_ / group.count);
  for (int64_t p = panels.first; p < panels.last; p += step) {
    const Range part = {p, std::min(p + step, panels.last)};
    const Matrix gate = slice(op.gate->expert(expert), part);
    const Matrix up = slice(op.up->expert(expert), part);
    const int64_t width = gate.rows;
    const int64_t at = expert * op.gate->matrix.rows + p * kPanelRows;
    kernel(gate, x, group.count, 0, num_panels(width),
           {scratch.first, width, bias_at(op.gate_bias, at), false}, scratch.kernel);
    kernel(up, x, group.count, 0, num_panels(width),
           {scratch.second, width, bias_at(op.up_bias, at), false}, scratch.kernel);
    for (int64_t i = 0; op.weighs && i < group.count; ++i)
      for (float* products : {scratch.first, scratch.second})
        layer_kernels().scale(products + i * width, width, routing_.weight(group.first + i), 0.0f);
    glu(scratch.first, scratch.second, group.count * width, op.how, scratch.first);
    for (int64_t i = 0; i < group.count; ++i)
      std::memcpy(out.floats + (group.first + i) * out.columns + p * kPanelRows,
                  scratch.first + i * width, width * sizeof(float));
  }
  const int64_t total = num_panels(op.gate->matrix.rows);
  if (!routing_.finish(expert, panels.last - panels.first, total)) return;
  for (int64_t i = 0; i < group.count; ++i) quantize_part(op.out, group.first + i);
}

void Program::execute(const ExpertsDown& op, int index, int thread) {
  const int64_t rows = num_rows(index), panels = num_panels(op.weight->matrix.rows);
  if (rows <= kFewRows)
    return contract(op, rows, own_panels(op.weight->matrix, thread, pool_->size()), thread);
  const int64_t step =
      std::clamp(panels / (8 * pool_->size()), int64_t{1}, kTaskPanels);  // no bits depend on it
  for (int64_t task; (task = next_task_[index].fetch_add(1)) * step < panels;)
    contract(op, rows, {task * step, std::min((task + 1) * step, panels)}, thread);
}

// Some columns of the output for all rows: sum over experts of weight * (down x).
void Program::contract(const ExpertsDown& op, int64_t rows, Range panels, int thread) {
  const auto kernel = exact_ ? kernels_->linear_exact : kernels_->linear;
  const Activation& out = buffers_[op.out];
  const ExpertScratch scratch(scratch_[thread]->data(), max_rows_);
  const Matrix all = slice(op.weight->matrix, panels);
  for (int64_t row = 0; !op.accumulate && row < rows; ++row)
    std::fill_n(out.floats + row * out.columns + panels.first * kPanelRows, all.rows, 0.0f);
  for (int64_t a = 0; a < routing_.num_active(); ++a) {
    const int64_t expert = routing_.active(a);
    const Group group = routing_.group(expert);
    const Activation x = from_row(buffers_[op.in], group.first);
    const int64_t step = std::max(int64_t{1}, max_rows_ / group.count);
    for (int64_t p = panels.first; p < panels.last; p += step) {
      const Matrix w = slice(op.weight->expert(expert), {p, std::min(p + step, panels.last)});
      const float* bias = bias_at(op.bias, expert * op.weight->matrix.rows + p * kPanelRows);
      kernel(w, x, group.count, 0, num_panels(w.rows), {scratch.first, w.rows, bias, false},
             scratch.kernel);
      for (int64_t pair = group.first; pair < group.first + group.count; ++pair)
        kernels_->add_scaled(scratch.first + (pair - group.first) * w.rows,
                             op.weighs ? routing_.weight(pair) : 1.0f, w.rows,
                             out.floats + routing_.row(pair) * out.columns + p * kPanelRows);
    }
  }
}

void Program::execute(const AddGated& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const Activation &gate = buffers_[op.gate], &in = buffers_[op.in], &out = buffers_[op.out];
  for (int64_t row = rows.first; row < rows.last; ++row) {
    float factor;
    kernels_->sigmoid(gate.floats + row, 1, &factor);
    kernels_->add_scaled(in.floats + row * in.columns, factor, in.columns,
                         out.floats + row * out.columns);
  }
}

}  // namespace wazn
