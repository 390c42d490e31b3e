// Scaling and adding of rows as operations of a program.
#include <algorithm>

#include "program.h"

namespace wazn {

void Program::execute(const Scale& op, int index, int thread) {
  const bool is_result = op.x == kLogits;
  const int64_t columns = is_result ? step_.result_columns : width(op.x);
  float* x = is_result ? step_.result : buffers_[op.x].floats;
  if (!is_result) {
    const Range rows = share(num_rows(index), thread, pool_->size());
    return layer_kernels().scale(x + rows.first * columns, (rows.last - rows.first) * columns,
                                 op.factor, op.cap);
  }
  // A vocabulary is long and rows are few: threads share columns, in whole vectors.
  const int64_t numbers = step_.num_wanted * columns;
  const Range mine = share((numbers + 15) / 16, thread, pool_->size());
  const int64_t first = 16 * mine.first, last = std::min(16 * mine.last, numbers);
  layer_kernels().scale(x + first, last - first, op.factor, op.cap);
}

void Program::execute(const Add& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t n = width(op.out);
  for (int64_t row = rows.first; row < rows.last; ++row)
    kernels_->add_scaled(buffers_[op.in].floats + row * n, 1.0f, n,
                         buffers_[op.out].floats + row * n);
}

}  // namespace wazn
