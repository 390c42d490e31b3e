// The vector vocabulary of the kernels: 16 lanes, whatever the registers. One implementation per
// instruction set; a kernel includes nothing else, so that no inline library function of a wide
// instruction set can leak into the rest of the program.
//
//   Floats   16 x float32
//   Words    16 x int32
//   Bytes    a line of weights: [16 rows][4 columns] of bytes, a row in each 32-bit lane
//   Shorts   16 pairs of int16, a row's in each 32-bit lane (NEON: four rows' first ones, then
//   their
//            second ones, in each 128 bits)
//   Dots     sums of weights x 8-bit activations over lines of one block of 32 columns, one lane a
//            row. They `start` at what an offset of the weights' codes takes from them; `weigh`
//            multiplies the sums of the block's halves (columns 0 to 15, 16 to 31) by the pair of
//            their multipliers, exactly, and adds them up
//
// As packed, a lane of line i holds columns 2i, 2i + 1, 16 + 2i, 16 + 2i + 1: int16 sums keep the
// halves apart. Instruction sets that sum four bytes at once (kMixesHalves false) exchange columns
// between two lines first (`pair_lines`): line 2i then holds four columns of the first half, line
// 2i + 1 of the second. `store_codes` puts activations into the same order.
//
// Two operations on 32 numbers, x and y: `max_of_each` has the largest of x in its first eight
// lanes and that of y in the others, `store_sums_of_8` writes four sums, two of x and two of y.
#pragma once

#if defined(__aarch64__)
#include "simd_neon.h"
#elif defined(__AVX512VNNI__)
#include "simd_avx512.h"
#else
#include "simd_avx2.h"
#endif

namespace {

WAZN_INLINE Floats zero() { return splat(0.0f); }

constexpr int64_t kLine = 64;  // bytes of a cache line

// Asks for memory that is needed soon.
WAZN_INLINE void fetch(const uint8_t* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(p + i);
}

// e^x for x <= 88; below -87.3 the result is 0. Cephes' reduction x = n ln 2 + r with |r| <= ln2/2
// and a polynomial of degree 6; the NumPy twin repeats it operation by operation.
WAZN_INLINE Floats exp(Floats x) {
  const Floats lowest = splat(-87.33654f);
  const Floats clamped = max(min(x, splat(88.0f)), lowest);
  const Floats n = nearest(mul(clamped, splat(1.44269504088896341f)));
  Floats r = fnma(n, splat(0.693359375f), clamped);
  r = fnma(n, splat(-2.12194440e-4f), r);
  Floats p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = add(fma(p, mul(r, r), r), splat(1.0f));
  const Words scale = shift_left<23>(add(to_words(n), splat(127)));
  return zero_where_less(mul(p, as_floats(scale)), x, lowest);
}

// tanh x: Cephes' polynomial in x^2 where |x| < 0.625, else (e^2x - 1) / (e^2x + 1).
WAZN_INLINE Floats tanh(Floats x) {
  const Floats square = mul(x, x);
  Floats p = splat(-5.70498872745e-3f);
  p = fma(p, square, splat(2.06390887954e-2f));
  p = fma(p, square, splat(-5.37397155531e-2f));
  p = fma(p, square, splat(1.33314422036e-1f));
  p = fma(p, square, splat(-3.33332819422e-1f));
  const Floats near = fma(mul(p, square), x, x);
  const Floats power = exp(add(x, x));
  const Floats far = div(sub(power, splat(1.0f)), add(power, splat(1.0f)));
  constexpr float kBound = 0.625f, kBelow = 0.62499994f;  // the next float
  const Floats size = abs(x);
  return add(zero_where_less(near, sub(zero(), size), splat(-kBelow)),
             zero_where_less(far, size, splat(kBound)));
}

}  // namespace
