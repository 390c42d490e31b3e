#include "affinity.h"

#include <stdexcept>
#include <string>

namespace wazn {

Pinned::Pinned(int cpu) {
  if (cpu < 0 || cpu >= (int)before_.size() * CPU_SETSIZE) return;
  if (sched_getaffinity(0, sizeof(before_), before_.data()) != 0) return;
  // Linux would let a thread out of the CPUs that the user confined it to.
  if (!CPU_ISSET_S(cpu, sizeof(before_), before_.data())) return;
  CpuSet alone{};
  CPU_SET_S(cpu, sizeof(alone), alone.data());
  holds_ = sched_setaffinity(0, sizeof(alone), alone.data()) == 0;
}

Pinned::~Pinned() {
  if (holds_) sched_setaffinity(0, sizeof(before_), before_.data());
}

void check_cpus(const std::vector<int>& cpus) {
  for (const int cpu : cpus)
    if (!Pinned(cpu).holds())
      throw std::invalid_argument("CPU " + std::to_string(cpu) +
                                  " is not one that this process may use");
}

}  // namespace wazn
