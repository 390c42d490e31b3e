// Chooses the next token of every wanted row of a step in one call, the rows spread over the
// threads. A row's token and log probabilities are a function of its logits and its state alone:
// every sum has a fixed order, and a row is never shared between threads.
#pragma once

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "candidates.h"
#include "pool.h"

namespace wazn {

// Logits that hold NaN or +inf, or forbid every token.
struct BrokenLogits : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The rest is filled in only where log probabilities are wanted: they are the model's own, before
// anything that the sequence asks for. `top` is most likely first.
struct Choice {
  int32_t id = 0;
  double logprob = 0;
  std::vector<std::pair<int32_t, double>> top;
};

// For one caller at a time.
class Sampler {
 public:
  Sampler(const Kernels* kernels, std::shared_ptr<Pool> pool);

  // logits: (states.size(), vocab_size). Throws what the lowest failing row throws: BrokenLogits,
  // or std::invalid_argument for a state with ids outside the vocabulary.
  std::vector<Choice> sample(const float* logits, int64_t vocab_size,
                             const std::vector<const SamplingState*>& states);
  // What a draw for one row can give, after all adjustments and filters.
  Candidates candidates(const float* logits, int64_t vocab_size, const SamplingState& state);

 private:
  Logits look_through(const float* values, int64_t count, std::vector<float>& peaks) const;
  Logits adjusted(const Logits& raw, const SamplingState& state, SamplingScratch& scratch) const;
  Choice choose(const float* logits, int64_t vocab_size, const SamplingState& state,
                SamplingScratch& scratch) const;
  int32_t draw(const Logits& x, const SamplingState& state, SamplingScratch& scratch) const;
  void add_logprobs(const Logits& raw, int num_top, SamplingScratch& scratch, Choice& choice) const;

  const Kernels* kernels_;
  std::shared_ptr<Pool> pool_;
  std::vector<SamplingScratch> scratch_;  // per thread
};

}  // namespace wazn
