// Compression of keys as operations of a program (DeepSeek-V4): a row of a store for every `rate`
// rows of a sequence, of what is in the step and of what the last steps left in the state.
#include <algorithm>
#include <cstring>
#include <vector>

#include "program.h"

namespace wazn {

// Entries that the step completes, over all sequences, are tasks of their own.
void Program::execute(const Compress& op, int index, int) {
  int64_t tasks = 0;
  std::vector<int64_t> ends;  // tasks up to and with each sequence
  const auto entries_until = [&](int64_t position) { return position / op.rate; };
  for (int64_t s = 0; s < step_.num_sequences; ++s) {
    const int64_t first = step_.first_positions[s];
    const int64_t last = first + step_.row_starts[s + 1] - step_.row_starts[s];
    tasks += entries_until(last) - entries_until(first);
    ends.push_back(tasks);
  }
  std::vector<float> row(op.shape.latent);
  for (int64_t task; (task = next_task_[index].fetch_add(1)) < tasks;) {
    const int64_t s = std::upper_bound(ends.begin(), ends.end(), task) - ends.begin();
    const int64_t before = s ? ends[s - 1] : 0;
    compress(op, s, entries_until(step_.first_positions[s]) + task - before, row.data());
  }
}

void Program::compress(const Compress& op, int64_t sequence, int64_t entry, float* out) {
  const int64_t columns = width(op.values), kept = op.overlaps ? 2 * op.rate : op.rate;
  const int64_t first = step_.first_positions[sequence], start = op.rate * entry;
  const float* ring = state(sequence, op.state);
  std::vector<Slot> slots;
  const auto add_slots = [&](int64_t from, int64_t column) {
    for (int64_t i = 0; i < op.rate; ++i) {
      const int64_t position = from + i;
      const int64_t row = step_.row_starts[sequence] + position - first;
      const float* old = ring + position % kept * 2 * columns;
      const bool is_new = position >= first;
      const float* values = is_new ? buffers_[op.values].floats + row * columns : old;
      const float* gates = is_new ? buffers_[op.gates].floats + row * columns : old + columns;
      slots.push_back({values + column, gates + column, op.biases.data() + i * columns + column});
    }
  };
  if (op.overlaps && entry > 0) add_slots(start - op.rate, 0);
  add_slots(start, op.overlaps ? op.shape.latent : 0);
  layer_kernels().pool(slots.data(), (int64_t)slots.size(), op.shape.latent, out);
  kernels_->rms_norm(out, op.weight.data(), op.shape.latent, op.eps, out);
  kernels_->rope(out + op.shape.latent - op.rope.width,
                 angles_[op.table].pairs + start * op.rope.width, op.rope);
  layer_kernels().append_latent(out, nullptr, op.shape, cached_row(op.store, sequence, entry));
}

void Program::execute(const KeepRows& op, int, int thread) {
  const int64_t columns = width(op.values);
  const Range mine = share(step_.num_sequences, thread, pool_->size());
  for (int64_t s = mine.first; s < mine.last; ++s) {
    float* ring = state(s, op.state);
    const int64_t stop = step_.row_starts[s + 1];
    for (int64_t row = std::max<int64_t>(step_.row_starts[s], stop - op.count); row < stop; ++row) {
      float* kept = ring + row_position_[row] % op.count * 2 * columns;
      std::memcpy(kept, buffers_[op.values].floats + row * columns, columns * sizeof(float));
      std::memcpy(kept + columns, buffers_[op.gates].floats + row * columns,
                  columns * sizeof(float));
    }
  }
}

}  // namespace wazn
