#include "pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

// Between two steps of a decode the caller is away for some 0.1 ms; within a step, the slowest
// thread is rarely later than that.
constexpr double kPatience = 200e-6;  // seconds
constexpr int kLeastSpins = 64;

// How many pauses take that long: one is 15 ns on Zen 3 and 60 on Sapphire Rapids.
int count_spins() {
  constexpr int kTried = 512;
  double best = 1;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < kTried; ++i) pause();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return std::clamp((int)(kPatience * kTried / std::max(best, 1e-9)), kLeastSpins, 1 << 20);
}

void pin_this_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);  // a CPU that went away is no reason to fail
}

}  // namespace

Pool::Pool(int num_threads, const std::vector<int>& cpus)
    : num_threads_(num_threads), max_spins_(count_spins()), patience_(new Patience[num_threads]) {
  for (int thread = 0; thread < num_threads; ++thread) patience_[thread].spins = max_spins_;
  for (int thread = 1; thread < num_threads; ++thread) {
    const int cpu = cpus.empty() ? -1 : cpus[thread % cpus.size()];
    workers_.emplace_back([this, thread, cpu] { serve(thread, cpu); });
  }
}

Pool::~Pool() {
  stopping_.store(true);
  job_.fetch_add(1);
  job_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// Returns when `value` is no longer `seen`.
void Pool::wait_for_change(const std::atomic<uint32_t>& value, uint32_t seen, int thread) {
  int& spins = patience_[thread].spins;
  for (int i = 0; i < spins; ++i) {
    if (value.load(std::memory_order_acquire) != seen) return;
    pause();
  }
  const Clock::time_point start = Clock::now();
  while (value.load(std::memory_order_acquire) == seen) value.wait(seen);
  const double slept = std::chrono::duration<double>(Clock::now() - start).count();
  spins = slept < kPatience ? std::min(2 * spins, max_spins_) : std::max(spins / 2, kLeastSpins);
}

void Pool::serve(int thread, int cpu) {
  if (cpu >= 0) pin_this_thread(cpu);
  for (uint32_t seen = 0;;) {
    wait_for_change(job_, seen, thread);
    seen = job_.load(std::memory_order_acquire);
    if (stopping_.load()) return;
    (*work_)(thread);
    barrier(thread);
  }
}

void Pool::run(const std::function<void(int)>& work) {
  work_ = &work;
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  work(0);
  barrier(0);
}

void Pool::barrier(int thread) {
  if (num_threads_ == 1) return;
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    generation_.notify_all();
  } else {
    wait_for_change(generation_, generation, thread);
  }
}

}  // namespace wazn
