// What one sequence asks of sampling, and what it has said so far.
#pragma once

#include <stdint.h>

#include <unordered_map>
#include <vector>

namespace wazn {

// The numbers; their meaning is stated at SamplingParams in wazn/engine/params.py.
struct Sampling {
  double temperature, top_p, typical_p;
  int64_t top_k;  // all, if not above 0
  float min_p, repetition_penalty, presence_penalty, frequency_penalty;
};

// Which draws are this sequence's: its token at `position` is drawn by (seed, stream, position).
struct Stream {
  uint64_t seed, stream;
  int64_t position;  // of the first token to choose
};

// Token ids that are treated in a way of their own.
struct SpecialIds {
  std::vector<int32_t> prompt, biased, barred;  // barred: until there are min_tokens
  std::vector<float> biases;                    // of `biased`, each of which occurs once
  int64_t min_tokens;
};

// Counts for penalties are sparse: a step costs time by the number of distinct tokens, not by the
// vocabulary.
class SamplingState {
 public:
  // num_top: how many of the likeliest tokens are reported with the chosen one's log probability;
  // below 0 neither is. Throws std::invalid_argument for an id below 0.
  SamplingState(const Sampling& sampling, const Stream& stream, SpecialIds ids, int num_top);

  const Sampling& sampling() const { return sampling_; }
  int num_top() const { return num_top_; }
  int32_t largest_id() const { return largest_id_; }
  double next_uniform() const;  // for the token that comes next

  void observe(int32_t id);  // a token of the answer
  bool adjusts() const;      // whether adjust() does anything
  // Repetition penalty, presence and frequency penalties, bias, barred ids; in this order.
  void adjust(float* logits) const;

 private:
  void note(int32_t id);
  void see(int32_t id, int count);
  bool is_barring() const { return num_observed_ < ids_.min_tokens && !ids_.barred.empty(); }

  const Sampling sampling_;
  const Stream stream_;
  SpecialIds ids_;
  const int num_top_;
  const bool is_penalised_;
  int32_t largest_id_ = 0;
  int64_t num_observed_ = 0;
  // Distinct ids of prompt and answer, how often each is in the answer, and where each stands.
  std::vector<int32_t> seen_, counts_;
  std::unordered_map<int32_t, int32_t> places_;
};

}  // namespace wazn
