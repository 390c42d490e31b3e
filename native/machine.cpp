#include "machine.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "memory.h"

namespace wazn {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

#if defined(__x86_64__)
bool has_avx_vnni() {  // leaf 7.1, bit 4 of eax; gcc 12 has no name for it
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 16);
}
#endif

// Every set of kernels that was compiled, best first, and whether this CPU can run it.
struct Isa {
  const Kernels* (*kernels)();
  bool is_supported;
};
std::vector<Isa> all_isas() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512_vnni =
      avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vnni");
  return {{avx512_vnni_kernels, avx512_vnni},
          {avx_vnni_kernels, avx2 && has_avx_vnni()},
          {avx2_kernels, avx2}};
#elif defined(__aarch64__)
  return {{neon_dotprod_kernels, (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0}};
#else
  return {};
#endif
}

// The sum of words [first, last), whole cache lines, in independent chains, so that the loads never
// wait for an addition.
template <bool kFetchesAhead>
uint64_t sum_of_words(const uint64_t* p, size_t first, size_t last) {
  uint64_t sum[8] = {};
  for (size_t i = first; i < last; i += 8) {
    if constexpr (kFetchesAhead) {
      __builtin_prefetch(p + i + kFarAhead / 8, 0, 2);  // as the kernels do
      __builtin_prefetch(p + i + kAhead / 8);
    }
    for (int k = 0; k < 8; ++k) sum[k] += p[i + k];
  }
  return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : all_isas())
    if (isa.is_supported) names.push_back(isa.kernels()->name);
  return names;
}

const Kernels* kernels_for(const std::string& name) {
  for (const Isa& isa : all_isas())
    if (isa.is_supported && (name.empty() || name == isa.kernels()->name)) return isa.kernels();
  if (available_isas().empty())
    throw std::runtime_error(
        "wazn's native core needs an x86-64 CPU with AVX2, FMA and F16C, or an ARM CPU with the "
        "dot-product instructions (ASIMDDP), and this one lacks them");
  throw std::runtime_error("WAZN_ISA=" + name + " is not available on this CPU; use " +
                           available_isas()[0] + " or leave it unset");
}

double measure_bandwidth(Pool& pool, size_t bytes) {
  const std::unique_ptr<Memory> memory(Memory::allocate(bytes));
  std::fill_n(memory->data(), bytes, uint8_t{1});
  const size_t words = bytes / 8;
  std::vector<uint64_t> sums(pool.size() * 8);
  double best = 0;
  // Which way is the faster one depends on the CPU: fetching brings Emerald Rapids 40%, and takes
  // 10% from Zen 3.
  for (int repeat = 0; repeat < 6; ++repeat) {
    const auto sum_up = repeat % 2 == 0 ? sum_of_words<false> : sum_of_words<true>;
    const Clock::time_point start = Clock::now();
    pool.run([&](int thread) {
      const size_t first = words * thread / pool.size() & ~size_t{7};
      const size_t last = words * (thread + 1) / pool.size() & ~size_t{7};
      sums[thread * 8] += sum_up((const uint64_t*)memory->data(), first, last);
    });
    best = std::max(best, bytes / seconds_since(start));
  }
  // Uses the sums, so that the reads cannot be optimised away.
  return sums[0] == 0 ? 0 : best;
}

double measure_compute(const Kernels& kernels, Pool& pool) {
  // One panel of Q4_K and a few tiles of rows: everything stays in the first-level cache.
  constexpr int64_t kColumns = 512, kRepeats = 4000;
  const int64_t rows = 4 * kernels.tile;
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Clock::time_point start = Clock::now();
    pool.run([&](int) {
      std::vector<uint8_t> weights(panel_bytes(Layout::kQ4_K, kColumns));
      std::vector<uint8_t> work(linear_scratch_bytes(kColumns, rows));
      std::vector<Block8> blocks(kColumns / 32);
      std::vector<float> scales(num_scale_spans(kColumns), 1.0f);
      std::vector<float> out(rows * kPanelRows);
      std::vector<Codes8> x(rows, Codes8{blocks.data(), scales.data()});
      const Matrix w = {weights.data(), kPanelRows, kColumns, Layout::kQ4_K};
      for (int64_t i = 0; i < kRepeats; ++i)
        kernels.linear(w, {kColumns, nullptr, x.data(), nullptr, 8}, rows, 0, 1,
                       {out.data(), kPanelRows, nullptr, false}, work.data());
    });
    const double products = (double)kRepeats * rows * kPanelRows * kColumns * pool.size();
    best = std::max(best, products / seconds_since(start));
  }
  return best;
}

}  // namespace wazn
