// A thread pool for one program at a time: the caller and its workers run the same function, and
// meet at barriers. Waiting spins for a while (a barrier costs about 0.1 us then), and sleeps after
// that, so that stolen or busy cores never make it collapse. Threads may be pinned to CPUs: workers
// for good, the caller while it runs something. A CPU that goes offline later takes no thread with
// it: the kernel lets its workers run elsewhere, and the caller then runs unpinned.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace wazn {

// A thread's even part of `count` things.
struct Range {
  int64_t first, last;
};
inline Range share(int64_t count, int thread, int num_threads) {
  return {count * thread / num_threads, count * (thread + 1) / num_threads};
}

// The next of `total` tasks: several at a time, fewer towards the end, so that all finish together.
// Empty when there are none left.
inline Range take(std::atomic<int64_t>& next, int64_t total, int num_threads) {
  constexpr int64_t kMost = 8;
  int64_t first = next.load(std::memory_order_relaxed), last;
  do {
    if (first >= total) return {total, total};
    const int64_t count = (total - first) / (3 * num_threads);
    last = std::min(first + std::clamp(count, int64_t{1}, kMost), total);
  } while (!next.compare_exchange_weak(first, last, std::memory_order_relaxed));
  return {first, last};
}

class Pool {
 public:
  // cpus: one for each thread, or none; throws std::invalid_argument for one that may not be used.
  explicit Pool(int num_threads, std::vector<int> cpus = {});
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int size() const { return num_threads_; }
  // Calls work(thread) on every thread, thread 0 being the caller, and returns when all are done.
  void run(const std::function<void(int)>& work);
  // Called by every thread of a running `work`: returns when all have called it.
  void barrier();

 private:
  void serve(int thread);
  int cpu(int thread) const { return cpus_.empty() ? -1 : cpus_[thread]; }
  void wait_for_change(const std::atomic<uint32_t>& value, uint32_t seen);
  const int num_threads_;
  const std::vector<int> cpus_;
  const int max_spins_;
  std::vector<std::thread> workers_;
  const std::function<void(int)>* work_ = nullptr;
  alignas(64) std::atomic<uint32_t> job_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace wazn
