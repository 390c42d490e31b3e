#include "machine.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>

#include "memory.h"

namespace wazn {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
#else
  return false;
#endif
}

}  // namespace

std::vector<std::string> available_isas() {
  return has_avx2() ? std::vector<std::string>{"avx2"} : std::vector<std::string>{};
}

const Kernels* kernels_for(const std::string& name) {
  const std::vector<std::string> available = available_isas();
  if (available.empty())
    throw std::runtime_error(
        "wazn's native core needs a CPU with AVX2, FMA and F16C, and this one lacks them");
  if (!name.empty() && std::find(available.begin(), available.end(), name) == available.end())
    throw std::runtime_error("WAZN_ISA=" + name + " is not available on this CPU; use " +
                             available[0] + " or leave it unset");
  return avx2_kernels();
}

double measure_bandwidth(Pool& pool, size_t bytes) {
  const std::unique_ptr<Memory> memory(Memory::allocate(bytes));
  std::fill_n(memory->data(), bytes, uint8_t{1});
  const size_t words = bytes / 8;
  std::vector<uint64_t> sums(pool.size() * 8);
  double best = 0;
  for (int repeat = 0; repeat < 4; ++repeat) {
    const Clock::time_point start = Clock::now();
    pool.run([&](int thread) {
      const uint64_t* p = (const uint64_t*)memory->data();
      uint64_t sum[8] = {};  // independent chains, so that the loads never wait for an addition
      const size_t first = words * thread / pool.size() & ~size_t{7};
      const size_t last = words * (thread + 1) / pool.size() & ~size_t{7};
      for (size_t i = first; i < last; i += 8)
        for (int k = 0; k < 8; ++k) sum[k] += p[i + k];
      for (int k = 0; k < 8; ++k) sums[thread * 8] += sum[k];
    });
    best = std::max(best, bytes / seconds_since(start));
  }
  // Uses the sums, so that the reads cannot be optimised away.
  return sums[0] == 0 ? 0 : best;
}

double measure_compute(const Kernels& kernels, Pool& pool) {
  // One panel of Q4_K and a few rows: everything stays in the first-level cache.
  constexpr int64_t kColumns = 512, kRows = 16, kRepeats = 4000;
  const int64_t panel = panel_bytes(Layout::kQ4_K, kColumns);
  const int64_t scratch = 64 * kColumns + 4096;
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Clock::time_point start = Clock::now();
    pool.run([&](int) {
      std::vector<uint8_t> weights(panel), work(scratch + 64);
      std::vector<int8_t> codes(kRows * kColumns, 1);
      std::vector<float> scales(kRows * kColumns / 256, 1.0f), out(kRows * kPanelRows);
      std::vector<int16_t> sums_16(kRows * kColumns / 16), sums_32(kRows * kColumns / 32);
      Activation x{};
      x.columns = kColumns;
      x.by_256 = {codes.data(), scales.data(), sums_16.data(), sums_32.data()};
      const Matrix w = {weights.data(), kPanelRows, kColumns, Layout::kQ4_K};
      for (int64_t i = 0; i < kRepeats; ++i)
        kernels.linear(w, x, kRows, 0, 1, {out.data(), kPanelRows, nullptr, false}, work.data());
    });
    const double products = (double)kRepeats * kRows * kPanelRows * kColumns * pool.size();
    best = std::max(best, products / seconds_since(start));
  }
  return best;
}

}  // namespace wazn
