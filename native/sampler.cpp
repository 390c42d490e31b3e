#include "sampler.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <limits>
#include <string>

namespace wazn {
namespace {

// Logits from which on other threads are asked: that many take one thread 15 us if greedy, and on a
// busy machine another thread is not there sooner.
constexpr int64_t kWorthSharing = 1 << 17;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What the first NaN is, or else the first +inf: one of them is there.
[[noreturn]] void report_broken(const float* values, int64_t count) {
  const float* end = values + count;
  const float* found = std::find_if(values, end, [](float x) { return std::isnan(x); });
  const char* what = found == end ? "inf" : "nan";
  if (found == end) found = std::find(values, end, kInfinity);
  throw BrokenLogits("the logit of token " + std::to_string(found - values) + " is " + what);
}

void check_ids(const SamplingState& state, int64_t vocab_size) {
  if (state.largest_id() >= vocab_size)
    throw std::invalid_argument("token " + std::to_string(state.largest_id()) +
                                " is outside the vocabulary of " + std::to_string(vocab_size));
}

// The lowest id that has the largest logit.
int32_t argmax(const Logits& x) {
  const int64_t block = std::find(x.peaks, x.peaks + num_blocks(x.count), x.peak) - x.peaks;
  return (int32_t)(std::find(x.values + block * kLogitBlock, x.values + x.count, x.peak) -
                   x.values);
}

// ln x for x >= 1, by operations that every CPU rounds alike; a library's logarithm is not one.
// x = m 2^n with m near 1, and ln m = 2 artanh s = 2 (s + s^3/3 + s^5/5 ...), |s| < 0.172.
double natural_log(double x) {
  int exponent;
  double m = std::frexp(x, &exponent);
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double s = (m - 1) / (m + 1), square = s * s;
  double series = 0;
  for (int divisor = 23; divisor > 0; divisor -= 2) series = series * square + 1.0 / divisor;
  return exponent * 0.69314718055994531 + 2 * s * series;
}

}  // namespace

Sampler::Sampler(const Kernels* kernels, std::shared_ptr<Pool> pool)
    : kernels_(kernels), pool_(std::move(pool)), scratch_(pool_->size()) {}

std::vector<Choice> Sampler::sample(const float* logits, int64_t vocab_size,
                                    const std::vector<const SamplingState*>& states) {
  const int64_t num_rows = states.size();
  std::vector<Choice> choices(num_rows);
  std::vector<std::exception_ptr> failures(num_rows);
  std::atomic<int64_t> next_row{0};
  const auto work = [&](int thread) {
    for (int64_t row; (row = next_row.fetch_add(1)) < num_rows;) {
      try {
        const float* values = logits + row * vocab_size;
        choices[row] = choose(values, vocab_size, *states[row], scratch_[thread]);
      } catch (...) {
        failures[row] = std::current_exception();
      }
    }
  };
  if (num_rows > 1 && num_rows * vocab_size >= kWorthSharing)
    pool_->run(work);
  else
    work(0);
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return choices;
}

Candidates Sampler::candidates(const float* logits, int64_t vocab_size,
                               const SamplingState& state) {
  check_ids(state, vocab_size);
  SamplingScratch& scratch = scratch_[0];
  const Logits x = adjusted(look_through(logits, vocab_size, scratch.peaks), state, scratch);
  filter(*kernels_, x, state.sampling(), scratch);
  return scratch.candidates;
}

Logits Sampler::look_through(const float* values, int64_t count, std::vector<float>& peaks) const {
  peaks.resize(num_blocks(count));
  const float poison = kernels_->block_peaks(values, count, peaks.data());
  if (std::isnan(poison)) report_broken(values, count);
  const float peak = *std::max_element(peaks.begin(), peaks.end());
  if (peak == -kInfinity)
    throw BrokenLogits("no token is allowed: all " + std::to_string(count) + " logits are -inf");
  return {values, count, peaks.data(), peak};
}

// A row after penalties, bias and bans. A constraint's mask of allowed ids joins here, after them.
Logits Sampler::adjusted(const Logits& raw, const SamplingState& state,
                         SamplingScratch& scratch) const {
  if (!state.adjusts()) return raw;
  scratch.adjusted.assign(raw.values, raw.values + raw.count);
  state.adjust(scratch.adjusted.data());
  return look_through(scratch.adjusted.data(), raw.count, scratch.adjusted_peaks);
}

Choice Sampler::choose(const float* logits, int64_t vocab_size, const SamplingState& state,
                       SamplingScratch& scratch) const {
  check_ids(state, vocab_size);
  const Logits raw = look_through(logits, vocab_size, scratch.peaks);
  Choice choice;
  choice.id = draw(adjusted(raw, state, scratch), state, scratch);
  if (state.num_top() >= 0) add_logprobs(raw, state.num_top(), scratch, choice);
  return choice;
}

int32_t Sampler::draw(const Logits& x, const SamplingState& state, SamplingScratch& scratch) const {
  const Sampling& sampling = state.sampling();
  if (sampling.temperature == 0) return argmax(x);
  const double uniform = state.next_uniform();
  if (has_filters(sampling, x.count)) {
    filter(*kernels_, x, sampling, scratch);
    return draw_candidate(scratch.candidates, uniform);
  }
  const double total = weigh_all(*kernels_, x, softmax_of(sampling, x.peak), scratch);
  return draw_weight(scratch, x.count, total, uniform);
}

void Sampler::add_logprobs(const Logits& raw, int num_top, SamplingScratch& scratch,
                           Choice& choice) const {
  const double total = weigh_all(*kernels_, raw, {raw.peak, 1.0f}, scratch);
  const double normaliser = (double)raw.peak + natural_log(total);
  const auto logprob = [&](int32_t id) { return (double)raw.values[id] - normaliser; };
  choice.logprob = logprob(choice.id);
  const int64_t count = std::min((int64_t)num_top, raw.count);
  if (count == 0) return;
  std::vector<int32_t>& ids = scratch.candidates.ids;
  ids.clear();
  collect_at_least(raw.values, raw.peaks, raw.count, kth_largest(raw, count, scratch.values), ids);
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(), [&](int32_t a, int32_t b) {
    return raw.values[a] != raw.values[b] ? raw.values[a] > raw.values[b] : a < b;
  });
  for (int64_t i = 0; i < count; ++i) choice.top.emplace_back(ids[i], logprob(ids[i]));
}

}  // namespace wazn
