#include "routing.h"

#include <algorithm>
#include <utility>

namespace wazn {

void Routing::reserve(int64_t max_rows, const Choice& choice) {
  choice_ = choice;
  const size_t pairs = std::max<size_t>(chosen_.size(), max_rows * choice.top_k);
  const size_t experts = std::max<size_t>(active_.size(), choice.num_experts);
  for (auto* of_pairs : {&chosen_, &pair_rows_}) of_pairs->resize(pairs);
  for (auto* of_pairs : {&weights_, &pair_weights_}) of_pairs->resize(pairs);
  for (auto* of_experts : {&next_, &active_}) of_experts->resize(experts);
  starts_.resize(experts + 1);
  finished_ = std::make_unique<std::atomic<int64_t>[]>(experts);
}

void Routing::choose(int64_t row, const float* scores, const Choice& choice) {
  int32_t* experts = chosen_.data() + row * choice.top_k;
  float* weights = weights_.data() + row * choice.top_k;
  int64_t count = 0;  // the best so far, best first; a later one must be better to pass
  for (int64_t e = 0; e < choice.num_experts; ++e) {
    if (count == choice.top_k && !(scores[e] > weights[count - 1])) continue;
    int64_t place = count < choice.top_k ? count++ : count - 1;
    for (; place > 0 && scores[e] > weights[place - 1]; --place) {
      weights[place] = weights[place - 1];
      experts[place] = experts[place - 1];
    }
    weights[place] = scores[e];
    experts[place] = (int32_t)e;
  }
  for (int64_t i = 1; i < count; ++i)
    for (int64_t j = i; j > 0 && experts[j] < experts[j - 1]; --j) {
      std::swap(experts[j], experts[j - 1]);
      std::swap(weights[j], weights[j - 1]);
    }
  if (!choice.normalize) return;
  float sum = 0.0f;
  for (int64_t i = 0; i < count; ++i) sum = sum + weights[i];
  for (int64_t i = 0; i < count; ++i) weights[i] = weights[i] / sum;
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
