#include "routing.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace wazn {
namespace {

// The places of the `count` largest of `values`, the best first; of equal ones the lowest.
void largest(const float* values, int64_t size, int64_t count, int32_t* places) {
  int64_t found = 0;  // a later one must be better to pass
  for (int64_t i = 0; i < size; ++i) {
    if (found == count && !(values[i] > values[places[found - 1]])) continue;
    int64_t place = found < count ? found++ : found - 1;
    for (; place > 0 && values[i] > values[places[place - 1]]; --place)
      places[place] = places[place - 1];
    places[place] = (int32_t)i;
  }
}

// What a group is worth: its best value, or the sum of its two best.
float worth(const float* values, int64_t size, bool sums_two) {
  int32_t best[2];
  largest(values, size, sums_two ? 2 : 1, best);
  return sums_two ? values[best[0]] + values[best[1]] : values[best[0]];
}

}  // namespace

void Routing::reserve(int64_t max_rows, const Choice& choice) {
  choice_ = choice;
  const size_t pairs = std::max<size_t>(chosen_.size(), max_rows * choice.top_k);
  const size_t experts = std::max<size_t>(active_.size(), choice.num_experts);
  for (auto* of_pairs : {&chosen_, &pair_rows_}) of_pairs->resize(pairs);
  for (auto* of_pairs : {&weights_, &pair_weights_}) of_pairs->resize(pairs);
  for (auto* of_experts : {&next_, &active_}) of_experts->resize(experts);
  if (!choice.bias.empty() || choice.groups > 1)
    ranks_.resize(std::max<size_t>(ranks_.size(), max_rows * choice.num_experts));
  starts_.resize(experts + 1);
  finished_ = std::make_unique<std::atomic<int64_t>[]>(experts);
}

void Routing::choose(int64_t row, const float* values, const Choice& choice) {
  int32_t* experts = chosen_.data() + row * choice.top_k;
  largest(rank(row, values, choice), choice.num_experts, choice.top_k, experts);
  std::sort(experts, experts + choice.top_k);
}

void Routing::assign(int64_t row, const int32_t* experts, const Choice& choice) {
  int32_t* chosen = chosen_.data() + row * choice.top_k;
  std::copy_n(experts, choice.top_k, chosen);
  std::sort(chosen, chosen + choice.top_k);
}

void Routing::weigh(int64_t row, const float* scores, const Choice& choice) {
  const int32_t* experts = chosen_.data() + row * choice.top_k;
  float* weights = weights_.data() + row * choice.top_k;
  float sum = 0.0f;
  for (int64_t i = 0; i < choice.top_k; ++i) {
    weights[i] = scores[experts[i]];
    sum = sum + weights[i];
  }
  sum = std::max(sum, choice.least_sum);
  // As DeepSeek-V3 does: no division by zero where all scores are.
  for (int64_t i = 0; choice.normalize && i < choice.top_k; ++i)
    weights[i] = weights[i] / (sum + 1e-20f);
  for (int64_t i = 0; i < choice.top_k; ++i) weights[i] = weights[i] * choice.scale;
}

// What the choice goes by: values, plus the bias, without the experts of groups that are left out.
const float* Routing::rank(int64_t row, const float* values, const Choice& choice) {
  if (choice.bias.empty() && choice.groups == 1) return values;
  float* ranks = ranks_.data() + row * choice.num_experts;
  for (int64_t e = 0; e < choice.num_experts; ++e)
    ranks[e] = choice.bias.empty() ? values[e] : values[e] + choice.bias[e];
  if (choice.groups == 1) return ranks;
  const int64_t size = choice.num_experts / choice.groups;
  std::vector<float> worths(choice.groups);
  std::vector<int32_t> best(choice.top_groups);
  for (int64_t g = 0; g < choice.groups; ++g)
    worths[g] = worth(ranks + g * size, size, choice.sums_two);
  largest(worths.data(), choice.groups, choice.top_groups, best.data());
  std::sort(best.begin(), best.end());
  for (int64_t g = 0; g < choice.groups; ++g)
    if (!std::binary_search(best.begin(), best.end(), (int32_t)g))
      std::fill_n(ranks + g * size, size, -INFINITY);
  return ranks;
}

void Routing::sort(int64_t rows, const Choice& choice) {
  num_pairs_ = rows * choice.top_k;
  std::fill(starts_.begin(), starts_.end(), 0);
  for (int64_t i = 0; i < num_pairs_; ++i) ++starts_[chosen_[i] + 1];
  num_active_ = 0;
  for (int64_t e = 0; e < choice.num_experts; ++e) {
    if (starts_[e + 1] > 0) active_[num_active_++] = (int32_t)e;
    starts_[e + 1] += starts_[e];
    next_[e] = starts_[e];
    finished_[e].store(0);
  }
  for (int64_t i = 0; i < num_pairs_; ++i) {
    const int32_t pair = next_[chosen_[i]]++;
    pair_rows_[pair] = (int32_t)(i / choice.top_k);
    pair_weights_[pair] = weights_[i];
  }
}

}  // namespace wazn
