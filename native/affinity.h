// The CPUs that a thread may run on.
#pragma once

#include <sched.h>

#include <array>
#include <vector>

namespace wazn {

// While it lives, the calling thread runs on one CPU, and so do for good the threads that it
// starts; afterwards it runs where it could before. A negative CPU changes nothing.
class Pinned {
 public:
  explicit Pinned(int cpu);
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  bool holds() const { return holds_; }  // false: the kernel refused, and nothing changed

 private:
  using CpuSet = std::array<cpu_set_t, 8>;  // of 8192 CPUs, the most that Linux is built for
  CpuSet before_{};
  bool holds_ = false;
};

// Throws std::invalid_argument for the first CPU that this thread may not run on.
void check_cpus(const std::vector<int>& cpus);

}  // namespace wazn
