#include "slices.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace wazn {
namespace {

constexpr uint64_t kSlice = 100'000;  // nanoseconds, the least that Linux grants

// struct sched_attr of the kernel, which C libraries before glibc 2.41 do not declare.
struct SchedulingAttributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

}  // namespace

void prefer_short_slices() {
  thread_local bool has_asked = false;
  if (has_asked) return;
  has_asked = true;
  SchedulingAttributes attributes{};
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;
  attributes.runtime = kSlice;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace wazn
