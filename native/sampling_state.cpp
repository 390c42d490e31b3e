#include "sampling_state.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "random.h"

namespace wazn {

SamplingState::SamplingState(const Sampling& sampling, const Stream& stream, SpecialIds ids,
                             int num_top)
    : sampling_(sampling),
      stream_(stream),
      ids_(std::move(ids)),
      num_top_(num_top),
      is_penalised_(sampling.repetition_penalty != 1 || sampling.presence_penalty != 0 ||
                    sampling.frequency_penalty != 0) {
  if (ids_.biased.size() != ids_.biases.size())
    throw std::invalid_argument("there are " + std::to_string(ids_.biased.size()) +
                                " biased ids and " + std::to_string(ids_.biases.size()) +
                                " biases");
  for (const auto* list : {&ids_.biased, &ids_.barred})
    for (int32_t id : *list) note(id);
  for (int32_t id : ids_.prompt) see(id, 0);
  ids_.prompt = {};  // seen_ has all that is needed of it
}

double SamplingState::next_uniform() const {
  return uniform(stream_.seed, stream_.stream, (uint64_t)(stream_.position + num_observed_));
}

void SamplingState::observe(int32_t id) {
  see(id, 1);
  ++num_observed_;
}

void SamplingState::note(int32_t id) {
  if (id < 0) throw std::invalid_argument("there is no token " + std::to_string(id));
  largest_id_ = std::max(largest_id_, id);
}

void SamplingState::see(int32_t id, int count) {
  note(id);
  if (!is_penalised_) return;
  const auto [entry, is_new] = places_.try_emplace(id, (int32_t)seen_.size());
  if (is_new) {
    seen_.push_back(id);
    counts_.push_back(0);
  }
  counts_[entry->second] += count;
}

bool SamplingState::adjusts() const {
  return (is_penalised_ && !seen_.empty()) || !ids_.biased.empty() || is_barring();
}

void SamplingState::adjust(float* logits) const {
  const float factor = sampling_.repetition_penalty;
  for (size_t i = 0; i < seen_.size(); ++i) {
    float& logit = logits[seen_[i]];
    if (factor != 1) logit = logit > 0 ? logit / factor : logit * factor;
    if (counts_[i] > 0)
      logit -= sampling_.frequency_penalty * (float)counts_[i] + sampling_.presence_penalty;
  }
  for (size_t i = 0; i < ids_.biased.size(); ++i) logits[ids_.biased[i]] += ids_.biases[i];
  if (is_barring())
    for (int32_t id : ids_.barred) logits[id] = -std::numeric_limits<float>::infinity();
}

}  // namespace wazn
