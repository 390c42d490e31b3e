#include "pool.h"

#include <algorithm>
#include <chrono>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "affinity.h"
#include "slices.h"

namespace wazn {
namespace {

using Clock = std::chrono::steady_clock;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A sleep hands the core to whoever else wants it, so it must not be the answer to every barrier;
// never sleeping would burn the time that a preempted thread needs to catch up. Decoding SmolLM2
// beside two busy loops on two cores kept 35, 36, 32 and 32% of its speed with 0.2, 0.3, 0.5 and
// 1 ms.
constexpr double kPatience = 3e-4;  // seconds

// How many pauses take that long: CPUs differ (22 ns each on an Emerald Rapids).
int count_spins() {
  constexpr int kTried = 512;
  double best = 1;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < kTried; ++i) pause();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return std::clamp((int)(kPatience * kTried / std::max(best, 1e-9)), 1, 1 << 20);
}

}  // namespace

Pool::Pool(int num_threads, std::vector<int> cpus)
    : num_threads_(num_threads), cpus_(std::move(cpus)), max_spins_(count_spins()) {
  check_cpus(cpus_);
  for (int thread = 1; thread < num_threads; ++thread) {
    const Pinned inherited(cpu(thread));
    workers_.emplace_back([this, thread] { serve(thread); });
  }
}

Pool::~Pool() {
  stopping_.store(true);
  job_.fetch_add(1);
  job_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// Returns when `value` is no longer `seen`.
void Pool::wait_for_change(const std::atomic<uint32_t>& value, uint32_t seen) {
  for (int i = 0; i < max_spins_; ++i) {
    if (value.load(std::memory_order_acquire) != seen) return;
    pause();
  }
  while (value.load(std::memory_order_acquire) == seen) value.wait(seen);
}

void Pool::serve(int thread) {
  prefer_short_slices();
  for (uint32_t seen = 0;;) {
    wait_for_change(job_, seen);
    seen = job_.load(std::memory_order_acquire);
    if (stopping_.load()) return;
    (*work_)(thread);
    barrier();
  }
}

void Pool::run(const std::function<void(int)>& work) {
  const Pinned here(cpu(0));
  if (num_threads_ > 1) prefer_short_slices();
  work_ = &work;
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  work(0);
  barrier();
}

void Pool::barrier() {
  if (num_threads_ == 1) return;
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    generation_.notify_all();
  } else {
    wait_for_change(generation_, generation);
  }
}

}  // namespace wazn
