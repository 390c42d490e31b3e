// The tokens that a draw may give, and what the filters leave of them. Over a large vocabulary a
// full sort costs more than the rest of a step: a bound comes first, by blocks of the vocabulary,
// and only what reaches it is looked at one by one.
//
// Definitions, which the NumPy twin (wazn/engine/reference.py) repeats operation by operation: a
// sum over the vocabulary is taken by blocks of 64, each in 16 lanes of float32, the blocks from
// left to right in float64; a sum over a list goes from left to right in float64.
#pragma once

#include <vector>

#include "kernels.h"
#include "sampling_state.h"

namespace wazn {

// One row, looked through once: `peaks` per block, `peak` of all.
struct Logits {
  const float* values;
  int64_t count;
  const float* peaks;
  float peak;
};

// Ids of the vocabulary and their unnormalised probabilities, in the order they are drawn in.
struct Candidates {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

// What one thread needs to work on a row; grows to the size of the vocabulary once.
struct SamplingScratch {
  std::vector<float> peaks, adjusted, adjusted_peaks, weights, sums, values;
  std::vector<uint64_t> order, spare;
  Candidates candidates, kept;
};

inline int64_t num_blocks(int64_t count) { return (count + kLogitBlock - 1) / kLogitBlock; }

bool has_filters(const Sampling& sampling, int64_t vocab_size);
Softmax softmax_of(const Sampling& sampling, float peak);

// The k-th largest of the logits, 1 <= k <= count.
float kth_largest(const Logits& x, int64_t k, std::vector<float>& values);
// Appends the ids, in ascending order, whose value is at least `floor`; `bounds` has for each block
// a number that none of its values exceeds.
void collect_at_least(const float* values, const float* bounds, int64_t count, float floor,
                      std::vector<int32_t>& ids);

// Weights and sums of all logits go to scratch.weights and scratch.sums; returns the total.
double weigh_all(const Kernels& kernels, const Logits& x, const Softmax& softmax,
                 SamplingScratch& scratch);
// Leaves in scratch.candidates what top-k, typical-p, top-p and min-p leave: at least one id.
void filter(const Kernels& kernels, const Logits& x, const Sampling& sampling,
            SamplingScratch& scratch);

// The id at quantile `uniform`, of the candidates or of a whole vocabulary after weigh_all.
int32_t draw_candidate(const Candidates& candidates, double uniform);
int32_t draw_weight(const SamplingScratch& scratch, int64_t count, double total, double uniform);

}  // namespace wazn
