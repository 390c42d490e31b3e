// Random numbers that have no state: a draw is a function of (seed, stream, position), so it cannot
// depend on batching, slicing, preemption or on how many draws came before.
#pragma once

#include <stdint.h>

namespace wazn {

// A number in [0, 1) with 53 random bits: the first word of a block of Philox-4x64-10 (Salmon et
// al. 2011) whose key is (seed, stream) and whose counter is the position.
inline double uniform(uint64_t seed, uint64_t stream, uint64_t position) {
  uint64_t x0 = position, x1 = 0, x2 = 0, x3 = 0;
  for (int round = 0; round < 10; ++round) {
    const auto product_0 = (unsigned __int128)x0 * 0xD2E7470EE14C6C93u;
    const auto product_1 = (unsigned __int128)x2 * 0xCA5A826395121157u;
    x0 = (uint64_t)(product_1 >> 64) ^ x1 ^ seed;
    x1 = (uint64_t)product_1;
    x2 = (uint64_t)(product_0 >> 64) ^ x3 ^ stream;
    x3 = (uint64_t)product_0;
    seed += 0x9E3779B97F4A7C15u;
    stream += 0xBB67AE8584CAA73Bu;
  }
  return (double)(x0 >> 11) * 0x1p-53;
}

}  // namespace wazn
