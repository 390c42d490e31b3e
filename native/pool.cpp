#include "pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace wazn {
namespace {

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Between two steps of a decode the caller is away for some 0.1 ms; within a step, the slowest
// thread is rarely later than that. A pause is about 20 ns on Zen 3.
constexpr int kSpins = 10000;

// Returns when `value` is no longer `seen`.
void wait_for_change(const std::atomic<uint32_t>& value, uint32_t seen) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != seen) return;
    pause();
  }
  while (value.load(std::memory_order_acquire) == seen) value.wait(seen);
}

}  // namespace

Pool::Pool(int num_threads) : num_threads_(num_threads) {
  for (int thread = 1; thread < num_threads; ++thread)
    workers_.emplace_back([this, thread] { serve(thread); });
}

Pool::~Pool() {
  stopping_.store(true);
  job_.fetch_add(1);
  job_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::serve(int thread) {
  for (uint32_t seen = 0;;) {
    wait_for_change(job_, seen);
    seen = job_.load(std::memory_order_acquire);
    if (stopping_.load()) return;
    (*work_)(thread);
    barrier();
  }
}

void Pool::run(const std::function<void(int)>& work) {
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
