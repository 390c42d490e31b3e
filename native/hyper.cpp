// Several streams of a residual as operations of a program (hyper-connections whose mixing matrix
// is made doubly stochastic: Xie 2026): a sublayer reads a weighted sum of the streams, adds its
// result to each with another weight, and the streams are mixed. A row of streams has them side by
// side.
#include <algorithm>
#include <cstring>
#include <vector>

#include "program.h"

namespace wazn {

void Program::execute(const Repeat& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t columns = width(op.in), streams = width(op.out) / columns;
  for (int64_t row = rows.first; row < rows.last; ++row)
    for (int64_t s = 0; s < streams; ++s)
      std::memcpy(buffers_[op.out].floats + (row * streams + s) * columns,
                  buffers_[op.in].floats + row * columns, columns * sizeof(float));
}

namespace {

// Divides each row, or each column, of a square matrix by its sum.
void normalise(float* matrix, int64_t size, bool by_row, float eps) {
  const int64_t along = by_row ? 1 : size, across = by_row ? size : 1;
  for (int64_t i = 0; i < size; ++i) {
    float sum = 0.0f;
    for (int64_t j = 0; j < size; ++j) sum = sum + matrix[i * across + j * along];
    for (int64_t j = 0; j < size; ++j)
      matrix[i * across + j * along] = matrix[i * across + j * along] / (sum + eps);
  }
}

}  // namespace

// pre = sigmoid + eps; post = 2 sigmoid; mix = softmax of its rows + eps, then columns and rows in
// turn divided by their sums (Sinkhorn and Knopp 1967).
void Program::execute(const HyperWeights& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t count = width(op.x), n = op.streams;
  for (int64_t row = rows.first; row < rows.last; ++row) {
    float* x = buffers_[op.x].floats + row * count;
    for (int64_t i = 0; i < count; ++i)
      x[i] = x[i] * op.scales[std::min(i / n, int64_t{2})] + op.biases[i];
    kernels_->sigmoid(x, std::min(count, 2 * n), x);
    for (int64_t i = 0; i < n; ++i) x[i] = x[i] + op.eps;
    if (count == n) continue;
    for (int64_t i = n; i < 2 * n; ++i) x[i] = 2.0f * x[i];
    float* mix = x + 2 * n;
    for (int64_t s = 0; s < n; ++s) kernels_->softmax(mix + s * n, n, mix + s * n);
    for (int64_t i = 0; i < n * n; ++i) mix[i] = mix[i] + op.eps;
    normalise(mix, n, false, op.eps);
    for (int64_t i = 1; i < op.iterations; ++i) {
      normalise(mix, n, true, op.eps);
      normalise(mix, n, false, op.eps);
    }
  }
}

void Program::execute(const Collapse& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t columns = width(op.out), streams = width(op.streams) / columns;
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const float* weights = buffers_[op.weights].floats + row * width(op.weights);
    float* out = buffers_[op.out].floats + row * columns;
    std::fill_n(out, columns, 0.0f);
    for (int64_t s = 0; s < streams; ++s)
      kernels_->add_scaled(buffers_[op.streams].floats + (row * streams + s) * columns, weights[s],
                           columns, out);
    quantize_row(op.out, row);
  }
}

void Program::execute(const Expand& op, int index, int thread) {
  const Range rows = share(num_rows(index), thread, pool_->size());
  const int64_t columns = width(op.in), n = width(op.streams) / columns;
  std::vector<float> before(n * columns);
  for (int64_t row = rows.first; row < rows.last; ++row) {
    float* streams = buffers_[op.streams].floats + row * n * columns;
    const float* weights = buffers_[op.weights].floats + row * width(op.weights);
    std::copy_n(streams, n * columns, before.data());
    std::fill_n(streams, n * columns, 0.0f);
    for (int64_t t = 0; t < n; ++t) {
      float* out = streams + t * columns;
      kernels_->add_scaled(buffers_[op.in].floats + row * columns, weights[n + t], columns, out);
      for (int64_t s = 0; s < n; ++s)
        kernels_->add_scaled(before.data() + s * columns, weights[2 * n + s * n + t], columns, out);
    }
  }
}

}  // namespace wazn
