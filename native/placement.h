// Which thread reads which panels of the weights while memory is the limit (few rows, decoding);
// and a copy of the weights whose pages lie where those threads run: Linux puts a page on the NUMA
// node of the thread that touches it first. Products and copy ask the same functions.
#pragma once

#include <algorithm>
#include <vector>

#include "program.h"

namespace wazn {

// A thread's panels of the products laid end to end, and of a matrix.
Range own_panels(const Linear& op, int thread, int num_threads);
Range own_panels(const Matrix& matrix, int thread, int num_threads);

// Calls f(product, panels) for every product that has some of `panels`, counted end to end.
template <class Products, class F>
void split(Products& products, Range panels, F&& f) {
  int64_t begin = 0;
  for (auto& product : products) {
    const int64_t count = num_panels(product.weight->matrix.rows);
    const int64_t first = std::max(panels.first - begin, int64_t{0});
    const int64_t last = std::min(panels.last - begin, count);
    begin += count;
    if (first < last) f(product, Range{first, last});
  }
}

// Bytes that copy_weights takes, in whole pages.
int64_t copied_bytes(std::vector<Operation>& operations);
// Has every product read a copy of its weights; a page is written by the thread of `pool` to which
// its first byte belongs. Of experts each thread gets its panels of every one. The embedding table,
// of which a step reads single rows, stays where it is.
void copy_weights(std::vector<Operation>& operations, Pool& pool);

}  // namespace wazn
