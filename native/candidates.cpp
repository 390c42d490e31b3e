#include "candidates.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

namespace wazn {
namespace {

// Below it, gaps of 0.001 are already e^-100: greedy but for ties.
constexpr double kSmallestTemperature = 1e-5;
// From about here a radix sort is faster than std::sort.
constexpr size_t kRadixFrom = 1024;

// Sorts entries (key << 32 | place) that come in order of their places, so that equal keys stay in
// that order.
void sort_entries(std::vector<uint64_t>& entries, std::vector<uint64_t>& spare) {
  if (entries.size() < kRadixFrom) return std::sort(entries.begin(), entries.end());
  spare.resize(entries.size());
  constexpr int kBits = 11;
  constexpr uint64_t kMask = (1 << kBits) - 1;
  for (int shift = 32; shift < 64; shift += kBits) {
    uint32_t starts[kMask + 2] = {0};
    for (uint64_t entry : entries) ++starts[(entry >> shift & kMask) + 1];
    for (uint64_t i = 0; i < kMask; ++i) starts[i + 1] += starts[i];
    for (uint64_t entry : entries) spare[starts[entry >> shift & kMask]++] = entry;
    entries.swap(spare);
  }
}

// Keys of numbers that are not negative, ascending and descending.
uint64_t ascending(float x) { return std::bit_cast<uint32_t>(x); }
uint64_t descending(float x) { return (uint32_t)~std::bit_cast<uint32_t>(x); }

double sum_of(const std::vector<float>& values) {
  double total = 0;
  for (float value : values) total += value;
  return total;
}

// Keeps candidates in ascending order of key (of equals, the first) until their weights reach
// `mass`: at least one, all if they do not reach it.
template <class Key>
void keep_prefix(SamplingScratch& scratch, double mass, const Key& key) {
  Candidates &from = scratch.candidates, &to = scratch.kept;
  scratch.order.clear();
  for (size_t place = 0; place < from.ids.size(); ++place)
    scratch.order.push_back(key(place) << 32 | place);
  sort_entries(scratch.order, scratch.spare);
  to.ids.clear();
  to.weights.clear();
  double sum = 0;
  for (uint64_t entry : scratch.order) {
    const auto place = (uint32_t)entry;
    to.ids.push_back(from.ids[place]);
    to.weights.push_back(from.weights[place]);
    sum += from.weights[place];
    if (sum >= mass) break;
  }
  std::swap(from, to);
}

void keep_at_least(SamplingScratch& scratch, float floor) {
  Candidates& all = scratch.candidates;
  size_t kept = 0;
  for (size_t place = 0; place < all.ids.size(); ++place)
    if (all.weights[place] >= floor) {
      all.ids[kept] = all.ids[place];
      all.weights[kept++] = all.weights[place];
    }
  all.ids.resize(kept);
  all.weights.resize(kept);
}

// Ids whose surprise is nearest the entropy (Meister et al. 2022). Both are taken from scaled
// logits, whose distance from a surprise is the same for all ids: no logarithm is needed.
void keep_typical(const Logits& x, const Softmax& softmax, double mass, SamplingScratch& scratch) {
  keep_at_least(scratch, std::numeric_limits<float>::denorm_min());
  const Candidates& all = scratch.candidates;
  const auto scaled = [&](size_t place) {
    return (x.values[all.ids[place]] - softmax.peak) * softmax.inverse_temperature;
  };
  double moment = 0, total = 0;
  for (size_t place = 0; place < all.ids.size(); ++place) {
    moment += (double)all.weights[place] * scaled(place);
    total += all.weights[place];
  }
  const float mean = (float)(moment / total);
  keep_prefix(scratch, mass * total,
              [&](size_t place) { return ascending(std::fabs(scaled(place) - mean)); });
}

// What the weights of one block that are at least `floor` add up to. Lanes, and no inlining, so
// that the compiler (gcc 12) finds vectors in it: 6 us for a vocabulary of 49,152, else 200.
__attribute__((noinline)) float block_mass(const float* weights, float floor) {
  constexpr int kLanes = 8;
  float lanes[kLanes] = {0};
  for (int64_t i = 0; i < kLogitBlock; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane)
      lanes[lane] += weights[i + lane] >= floor ? weights[i + lane] : 0.0f;
  float sum = 0;
  for (float lane : lanes) sum += lane;
  return sum;
}

double mass_at_least(const SamplingScratch& scratch, float floor) {
  double mass = 0;
  for (size_t block = 0; block < scratch.sums.size(); ++block)
    if (scratch.sums[block] >= floor)
      mass += block_mass(scratch.weights.data() + block * kLogitBlock, floor);
  return mass;
}

// A weight, not below `floor`, such that those of at least this weight surely reach `mass`; `floor`
// if there is none. Steps of 4 keep both the passes and what is collected in vain few.
float nucleus_bound(const SamplingScratch& scratch, double mass, float floor) {
  for (float bound = 0.25f; bound > floor; bound *= 0.25f)
    if (mass_at_least(scratch, bound) >= 1.00001 * mass) return bound;
  return floor;
}

void keep_top_p(double mass, SamplingScratch& scratch) {
  const std::vector<float>& weights = scratch.candidates.weights;
  keep_prefix(scratch, mass, [&](size_t place) { return descending(weights[place]); });
}

// The least weight that the filters may keep of a whole vocabulary.
float least_weight(const Sampling& sampling, int64_t count, double total,
                   const SamplingScratch& scratch) {
  if (sampling.typical_p < 1) return std::numeric_limits<float>::denorm_min();
  if (sampling.top_p == 1) return sampling.min_p;  // the largest weight is 1
  // Ids below (1 - top_p) / n together weigh less than 1 - top_p, so they are outside of top-p.
  // 0.999 leaves room for rounding; this floor is a part of the definition.
  const double floor = 0.999 * (1 - sampling.top_p) / (double)count * total;
  return nucleus_bound(scratch, sampling.top_p * total, (float)floor);
}

void take_at_least(float floor, int64_t count, SamplingScratch& scratch) {
  Candidates& candidates = scratch.candidates;
  collect_at_least(scratch.weights.data(), scratch.sums.data(), count, floor, candidates.ids);
  candidates.weights.clear();
  for (int32_t id : candidates.ids) candidates.weights.push_back(scratch.weights[id]);
}

void take_top_k(const Kernels& kernels, const Logits& x, int64_t k, const Softmax& softmax,
                SamplingScratch& scratch) {
  Candidates& candidates = scratch.candidates;
  collect_at_least(x.values, x.peaks, x.count, kth_largest(x, k, scratch.values), candidates.ids);
  scratch.values.clear();
  for (int32_t id : candidates.ids) scratch.values.push_back(x.values[id]);
  const int64_t count = candidates.ids.size();
  candidates.weights.resize(count);
  scratch.sums.resize(num_blocks(count));
  kernels.weigh_logits(scratch.values.data(), count, softmax, candidates.weights.data(),
                       scratch.sums.data());
}

bool has_top_k(const Sampling& sampling, int64_t vocab_size) {
  return 0 < sampling.top_k && sampling.top_k < vocab_size;
}

}  // namespace

bool has_filters(const Sampling& sampling, int64_t vocab_size) {
  return has_top_k(sampling, vocab_size) || sampling.typical_p < 1 || sampling.top_p < 1 ||
         sampling.min_p > 0;
}

Softmax softmax_of(const Sampling& sampling, float peak) {
  return {peak, 1.0f / (float)std::max(sampling.temperature, kSmallestTemperature)};
}

float kth_largest(const Logits& x, int64_t k, std::vector<float>& values) {
  float bound = -std::numeric_limits<float>::infinity();
  if (k <= num_blocks(x.count)) {  // the k-th largest peak is not above the k-th largest logit
    values.assign(x.peaks, x.peaks + num_blocks(x.count));
    std::nth_element(values.begin(), values.begin() + (k - 1), values.end(), std::greater<>());
    bound = values[k - 1];
  }
  values.clear();
  for (int64_t block = 0; block < num_blocks(x.count); ++block)
    if (x.peaks[block] >= bound) {
      const int64_t stop = std::min(x.count, (block + 1) * kLogitBlock);
      for (int64_t i = block * kLogitBlock; i < stop; ++i)
        if (x.values[i] >= bound) values.push_back(x.values[i]);
    }
  std::nth_element(values.begin(), values.begin() + (k - 1), values.end(), std::greater<>());
  return values[k - 1];
}

void collect_at_least(const float* values, const float* bounds, int64_t count, float floor,
                      std::vector<int32_t>& ids) {
  for (int64_t block = 0; block < num_blocks(count); ++block)
    if (bounds[block] >= floor) {
      const int64_t stop = std::min(count, (block + 1) * kLogitBlock);
      size_t size = ids.size();
      ids.resize(size + kLogitBlock);
      for (int64_t i = block * kLogitBlock; i < stop; ++i) {
        ids[size] = (int32_t)i;  // no branch: where many are kept, none could be predicted
        size += values[i] >= floor;
      }
      ids.resize(size);
    }
}

double weigh_all(const Kernels& kernels, const Logits& x, const Softmax& softmax,
                 SamplingScratch& scratch) {
  scratch.sums.resize(num_blocks(x.count));
  scratch.weights.resize(num_blocks(x.count) * kLogitBlock);
  std::fill(scratch.weights.begin() + x.count, scratch.weights.end(), 0.0f);
  kernels.weigh_logits(x.values, x.count, softmax, scratch.weights.data(), scratch.sums.data());
  return sum_of(scratch.sums);
}

void filter(const Kernels& kernels, const Logits& x, const Sampling& sampling,
            SamplingScratch& scratch) {
  Candidates& candidates = scratch.candidates;
  candidates.ids.clear();
  const Softmax softmax = softmax_of(sampling, x.peak);
  const bool is_typical = sampling.typical_p < 1, is_narrow = has_top_k(sampling, x.count);
  double total = 0;
  if (is_narrow) {
    take_top_k(kernels, x, sampling.top_k, softmax, scratch);
  } else {
    total = weigh_all(kernels, x, softmax, scratch);
    take_at_least(least_weight(sampling, x.count, total, scratch), x.count, scratch);
  }
  if (is_typical) keep_typical(x, softmax, sampling.typical_p, scratch);
  if (sampling.top_p < 1) {
    if (is_narrow || is_typical) total = sum_of(candidates.weights);
    keep_top_p(sampling.top_p * total, scratch);
  }
  if (sampling.min_p > 0) {
    const auto heaviest = std::max_element(candidates.weights.begin(), candidates.weights.end());
    keep_at_least(scratch, sampling.min_p * *heaviest);
  }
}

int32_t draw_candidate(const Candidates& candidates, double uniform) {
  const double target = uniform * sum_of(candidates.weights);
  double sum = 0;
  for (size_t place = 0; place + 1 < candidates.ids.size(); ++place) {
    sum += candidates.weights[place];
    if (sum > target) return candidates.ids[place];
  }
  return candidates.ids.back();
}

int32_t draw_weight(const SamplingScratch& scratch, int64_t count, double total, double uniform) {
  const double target = uniform * total;
  double before = 0;
  int64_t block = 0;
  while (before + scratch.sums[block] <= target) before += scratch.sums[block++];
  // Block and weights are summed in different orders: past the end means the last of some weight.
  int64_t last = block * kLogitBlock;
  double sum = 0;
  for (int64_t i = last; i < std::min(count, (block + 1) * kLogitBlock); ++i) {
    sum += scratch.weights[i];
    if (scratch.weights[i] > 0) last = i;
    if (sum > target - before) break;
  }
  return (int32_t)last;
}

}  // namespace wazn
