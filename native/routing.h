// Which experts each row of a step goes to: the choice itself, and a counting sort of all (row,
// expert) pairs by expert, so that the rows of an expert lie side by side. Memory is reserved once.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace wazn {

// What a router makes of its logits.
enum class Scoring { kSoftmax, kSigmoid, kSqrtSoftplus };

// How a router's scores become experts and their weights.
struct Choice {
  int64_t num_experts, top_k;
  bool normalize;  // weights of a row sum to 1
  Scoring scoring = Scoring::kSoftmax;
  std::vector<float> bias = {};        // added to the scores for the choice only; empty: none
  int64_t groups = 1, top_groups = 1;  // only experts of the best groups of equal size
  bool sums_two = false;               // a group counts its two best scores, not its best
  float scale = 1.0f;                  // of the weights
  float least_sum = 0.0f;              // what weights are divided by, at least
  float softcap = 0.0f;    // logits become softcap * tanh(logit / softcap); 0: they stay
  bool by_logits = false;  // the choice goes by logits, not by scores
  bool on_input = false;   // weights multiply what an expert reads, not what it makes
};

// The pairs of one expert: [first, first + count).
struct Group {
  int64_t first, count;
};

class Routing {
 public:
  void reserve(int64_t max_rows, const Choice& choice);
  // The `top_k` experts of a row with the highest values (and bias) among those of the best groups;
  // of equal ones the lowest, of groups too.
  void choose(int64_t row, const float* values, const Choice& choice);
  // The given experts.
  void assign(int64_t row, const int32_t* experts, const Choice& choice);
  // The weights of the row's experts by their scores.
  void weigh(int64_t row, const float* scores, const Choice& choice);
  // Pairs by expert, and within an expert by row.
  void sort(int64_t rows, const Choice& choice);

  // Experts that got a row, in ascending order.
  int64_t num_active() const { return num_active_; }
  int32_t active(int64_t index) const { return active_[index]; }
  Group group(int64_t expert) const {
    return {starts_[expert], starts_[expert + 1] - starts_[expert]};
  }
  int64_t num_pairs() const { return num_pairs_; }
  int32_t row(int64_t pair) const { return pair_rows_[pair]; }
  float weight(int64_t pair) const { return pair_weights_[pair]; }
  // Counts finished panels of an expert; true for the one call that reaches `total`.
  bool finish(int64_t expert, int64_t panels, int64_t total) {
    return finished_[expert].fetch_add(panels) + panels == total;
  }
  // Of the last router that memory was reserved for.
  int64_t num_experts() const { return choice_.num_experts; }
  int64_t top_k() const { return choice_.top_k; }
  bool on_input() const { return choice_.on_input; }

 private:
  const float* rank(int64_t row, const float* values, const Choice& choice);

  Choice choice_{};
  int64_t num_active_ = 0, num_pairs_ = 0;
  std::vector<int32_t> chosen_;  // (rows, top_k), ascending in a row
  std::vector<float> weights_;
  std::vector<float> ranks_;                     // (rows, experts): what the choice goes by
  std::vector<int32_t> starts_, next_, active_;  // per expert
  std::vector<int32_t> pair_rows_;               // per pair
  std::vector<float> pair_weights_;
  std::unique_ptr<std::atomic<int64_t>[]> finished_;
};

}  // namespace wazn
