// What this CPU offers: which kernels it can run, and how fast its memory and multipliers are.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"
#include "pool.h"

namespace wazn {

std::vector<std::string> available_isas();  // best first; empty if the CPU has none we need
// The kernels of `name`, or the best ones when it is empty; throws std::runtime_error.
const Kernels* kernels_for(const std::string& name);

double measure_bandwidth(Pool& pool, size_t bytes);          // bytes per second, read
double measure_compute(const Kernels& kernels, Pool& pool);  // 4-bit x int8 products per second

}  // namespace wazn
