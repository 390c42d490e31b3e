// Linear attention as operations of a program: those with a state take the rows of a sequence one
// after another, and threads share columns, or heads.
#include <algorithm>

#include "program.h"

namespace wazn {

void Program::execute(const CausalConv& op, int, int thread) {
  const int64_t columns = width(op.x), blocks = (columns + 15) / 16;
  const Range mine = share(blocks, thread, pool_->size());
  const int64_t first = mine.first * 16, last = std::min(mine.last * 16, columns);
  for (int64_t s = 0; s < step_.num_sequences && first < last; ++s) {
    float* window = state(s, op.state);
    for (int64_t j = 0; step_.first_positions[s] == 0 && j + 1 < op.size; ++j)
      std::fill(window + j * columns + first, window + j * columns + last, 0.0f);
    layer_kernels().causal_conv(buffers_[op.x].floats + step_.row_starts[s] * columns, columns,
                                step_.row_starts[s + 1] - step_.row_starts[s], first, last,
                                op.weight.data(), op.size, window, columns);
  }
}

void Program::execute(const UnitLength& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t columns = width(op.x) / op.heads;
  for (int64_t head = rows.first * op.heads; head < rows.last * op.heads; ++head) {
    float* x = buffers_[op.x].floats + head * columns;
    layer_kernels().unit_length(x, columns, op.eps, op.factor, x);
  }
}

void Program::execute(const DeltaGates& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t heads = width(op.a);
  for (int64_t row = rows.first; row < rows.last; ++row) {
    float *a = buffers_[op.a].floats + row * heads, *b = buffers_[op.b].floats + row * heads;
    layer_kernels().delta_gates(a, b, op.rate.data(), op.bias.data(), heads, a, b);
  }
}

void Program::execute(const DeltaRule& op, int index, int) {
  const int64_t key_dim = width(op.key) / op.key_heads;
  const int64_t value_dim = width(op.value) / op.value_heads;
  const int64_t tasks = step_.num_sequences * op.value_heads;
  for (int64_t task; (task = next_task_[index].fetch_add(1)) < tasks;) {
    const int64_t s = task / op.value_heads, head = task % op.value_heads;
    const int64_t key_head =
        op.tiled ? head % op.key_heads : head / (op.value_heads / op.key_heads);
    const int64_t row = step_.row_starts[s];
    const int64_t key = row * width(op.key) + key_head * key_dim;
    const int64_t value = row * width(op.value) + head * value_dim;
    const int64_t gate = row * op.value_heads + head;
    float* memory = state(s, op.state + head * key_dim * value_dim);
    if (step_.first_positions[s] == 0) std::fill_n(memory, key_dim * value_dim, 0.0f);
    layer_kernels().delta_rule({buffers_[op.query].floats + key, buffers_[op.key].floats + key,
                                buffers_[op.value].floats + value, buffers_[op.decay].floats + gate,
                                buffers_[op.beta].floats + gate, buffers_[op.out].floats + value,
                                width(op.key), width(op.value), op.value_heads,
                                step_.row_starts[s + 1] - row, key_dim, value_dim, memory});
  }
}

}  // namespace wazn
