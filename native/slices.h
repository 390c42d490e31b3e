// How long the scheduler lets a thread run at a time.
#pragma once

namespace wazn {

// Asks for time slices of 0.1 ms for this thread, once: it gets no more of a contended core, but
// what it gets comes sooner, so that threads which wait for each other stand still for less long.
// Linux 6.12 and newer know the request (sched_setattr(2)); elsewhere, and for threads that do not
// have the default policy, nothing changes.
void prefer_short_slices();

}  // namespace wazn
