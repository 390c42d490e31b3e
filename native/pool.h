// A thread pool for one program at a time: the caller and its workers run the same function, and
// meet at barriers. Waiting spins for a while (a barrier costs about 0.1 us then), and sleeps after
// that, so that stolen or busy cores never make it collapse.
#pragma once

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

class Pool {
 public:
  explicit Pool(int num_threads);
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
  const int num_threads_;
  std::vector<std::thread> workers_;
  const std::function<void(int)>* work_ = nullptr;
  alignas(64) std::atomic<uint32_t> job_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace wazn
