// What sampling asks of a row of logits as a whole: the peak of each block, and the weights of a
// softmax with the sum of each block. Both in 16 virtual lanes, like everything in rows.h.
#pragma once

#include "rows.h"

namespace {

using wazn::kLogitBlock;

constexpr float kInfinity = __builtin_inff();
constexpr float kLowestFloat = -3.40282347e38f;

// peaks[b] is the largest of block b. Returns 0, or NaN if there is a NaN or +inf (0 * x is NaN for
// these; -inf, which forbids a token, is raised to a number first). Peaks mean nothing then.
float block_peaks(const float* x, int64_t count, float* peaks) {
  Floats poison = zero();
  for (int64_t start = 0; start < count; start += kLogitBlock) {
    const int64_t stop = count - start < kLogitBlock ? count : start + kLogitBlock;
    Floats top = splat(-kInfinity);
    for (int64_t i = start; i < stop; i += 16) {
      const Floats v = load_some(x + i, stop - i, -kInfinity);
      top = max(v, top);
      poison = fma(max(splat(kLowestFloat), v), zero(), poison);  // in this order max keeps a NaN
    }
    peaks[start / kLogitBlock] = max_16(top);
  }
  return sum_16(poison);
}

// weights = e^((x - peak) * inverse_temperature), and their sums by block.
void weigh_logits(const float* x, int64_t count, const wazn::Softmax& softmax, float* weights,
                  float* sums) {
  const Floats peak = splat(softmax.peak), inverse = splat(softmax.inverse_temperature);
  for (int64_t start = 0; start < count; start += kLogitBlock) {
    const int64_t stop = count - start < kLogitBlock ? count : start + kLogitBlock;
    Floats sum = zero();
    for (int64_t i = start; i < stop; i += 16) {
      const int64_t left = stop - i;
      const Floats w = exp(mul(sub(load_some(x + i, left, -kInfinity), peak), inverse));
      store_some(weights + i, w, left);
      sum = add(sum, w);
    }
    sums[start / kLogitBlock] = sum_16(sum);
  }
}

}  // namespace
