// The vector vocabulary of the kernels: 8 float lanes, 32 byte lanes. One implementation per
// instruction set; a kernel includes nothing else, so that no inline library function of a wide
// instruction set can leak into the rest of the program.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace {

using Floats = __m256;   // 8 x float
using Bytes = __m256i;   // 32 x int8 or uint8
using Halves = __m256i;  // 16 x int16
using Words = __m256i;   // 8 x int32

#define WAZN_INLINE inline __attribute__((always_inline))

// gcc 12 reorders and spills accumulators without this (28 instead of 43 MAC/cycle on Zen 3).
WAZN_INLINE void fence(__m256i& x) { asm volatile("" : "+x"(x)); }

WAZN_INLINE Floats load(const float* p) { return _mm256_loadu_ps(p); }
WAZN_INLINE void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
WAZN_INLINE Floats splat(float x) { return _mm256_set1_ps(x); }
WAZN_INLINE Floats zero() { return _mm256_setzero_ps(); }
WAZN_INLINE Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
WAZN_INLINE Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
WAZN_INLINE Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
WAZN_INLINE Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
WAZN_INLINE Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
WAZN_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
WAZN_INLINE Floats fnma(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }
WAZN_INLINE Floats abs(Floats x) { return _mm256_andnot_ps(splat(-0.0f), x); }

WAZN_INLINE Bytes load_bytes(const void* p) { return _mm256_loadu_si256((const __m256i*)p); }
WAZN_INLINE void store_bytes(void* p, Bytes x) { _mm256_storeu_si256((__m256i*)p, x); }
WAZN_INLINE Words no_words() { return _mm256_setzero_si256(); }
WAZN_INLINE Words splat(int32_t x) { return _mm256_set1_epi32(x); }
WAZN_INLINE Words add_words(Words a, Words b) { return _mm256_add_epi32(a, b); }
WAZN_INLINE Words sub_words(Words a, Words b) { return _mm256_sub_epi32(a, b); }
WAZN_INLINE Words shift_words_left(Words a, int n) { return _mm256_slli_epi32(a, n); }
WAZN_INLINE Halves add_halves(Halves a, Halves b) { return _mm256_add_epi16(a, b); }
WAZN_INLINE Floats to_floats(Words x) { return _mm256_cvtepi32_ps(x); }

// Four bytes of an activation row, repeated for 8 weight rows.
WAZN_INLINE Bytes repeat_4(const int8_t* p) {
  int32_t v;
  __builtin_memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}
// Two int16 of an activation row, repeated for 8 weight rows.
WAZN_INLINE Halves repeat_2(const int16_t* p) {
  int32_t v;
  __builtin_memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}

// unsigned bytes x signed bytes -> 16 sums of two products. The caller keeps below 2^15.
WAZN_INLINE Halves dot_2(Bytes u, Bytes s) { return _mm256_maddubs_epi16(u, s); }
// int16 x int16 -> 8 sums of two products.
WAZN_INLINE Words dot_2_halves(Halves a, Halves b) { return _mm256_madd_epi16(a, b); }
WAZN_INLINE Bytes abs_bytes(Bytes x) { return _mm256_abs_epi8(x); }
WAZN_INLINE Bytes with_sign(Bytes x, Bytes sign) { return _mm256_sign_epi8(x, sign); }

WAZN_INLINE Bytes low_nibbles(Bytes x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
WAZN_INLINE Bytes high_nibbles(Bytes x) { return low_nibbles(_mm256_srli_epi16(x, 4)); }
// Bits [from, from + width) of every byte, moved to bit `to`.
WAZN_INLINE Bytes bits(Bytes x, int from, int width, int to) {
  const Bytes mask = _mm256_set1_epi8((char)(((1 << width) - 1) << to));
  const Bytes moved = from > to ? _mm256_srli_epi16(x, from - to) : _mm256_slli_epi16(x, to - from);
  return _mm256_and_si256(moved, mask);
}
WAZN_INLINE Bytes either(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
// table[16] looked up by the nibbles in x.
WAZN_INLINE Bytes look_up(const int8_t* table, Bytes x) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table)),
                             x);
}

WAZN_INLINE Floats load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
}
WAZN_INLINE void store_f16(uint16_t* p, Floats x) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
WAZN_INLINE uint16_t f16_of(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
WAZN_INLINE float f32_of(uint16_t x) { return _cvtsh_ss(x); }
WAZN_INLINE Floats load_bf16(const uint16_t* p) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
// 8 bytes as halved powers of two, 2^(e - 128): the scale of MXFP4, whose code table is doubled.
WAZN_INLINE Floats load_e8m0_half(const uint8_t* p) {
  const Words e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
  const Words normal = _mm256_slli_epi32(_mm256_sub_epi32(e, splat(1)), 23);
  const Words subnormal = _mm256_sllv_epi32(splat(0x00200000), e);
  const Words is_small = _mm256_cmpgt_epi32(splat(2), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, is_small));
}
// 16 bytes -> 16 int16.
WAZN_INLINE Halves widen_signed(const uint8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)p));
}
WAZN_INLINE Halves widen_unsigned(const uint8_t* p) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)p));
}
// Byte i of each 32-bit lane -> 8 floats.
WAZN_INLINE Floats byte_to_floats(Bytes x, int i, bool is_signed) {
  const Words top = _mm256_slli_epi32(x, 24 - 8 * i);
  return to_floats(is_signed ? _mm256_srai_epi32(top, 24) : _mm256_srli_epi32(top, 24));
}
// Half i of each 32-bit lane, signed -> 8 floats.
WAZN_INLINE Floats half_to_floats(Halves x, int i) {
  return to_floats(_mm256_srai_epi32(_mm256_slli_epi32(x, 16 - 16 * i), 16));
}
// (a0 b0 a1 b1 ...) -> (a0 a0 a1 a1 ...) and (b0 b0 b1 b1 ...), for pairs of sub-block scales.
WAZN_INLINE Halves first_of_pairs(Halves x) {
  return _mm256_or_si256(_mm256_and_si256(x, splat(0xffff)), _mm256_slli_epi32(x, 16));
}
WAZN_INLINE Halves second_of_pairs(Halves x) {
  return _mm256_blend_epi16(x, _mm256_srli_epi32(x, 16), 0x55);
}

// Nearest integer, ties to even, saturated to int8; 32 floats -> 32 bytes in order.
WAZN_INLINE Bytes to_int8(Floats a, Floats b, Floats c, Floats d) {
  const Halves ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
  const Halves cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd),
                                     _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// The sum and the maximum over 16 virtual lanes, always folded 8, 4, 2, 1 (the same on every ISA).
WAZN_INLINE float sum_16(Floats low, Floats high) {
  const __m256 s = _mm256_add_ps(low, high);
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
WAZN_INLINE float max_8(Floats x) {
  __m128 t = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  t = _mm_max_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}

// e^x for x <= 88; below -87.3 the result is 0. Cephes' reduction x = n ln 2 + r with |r| <= ln2/2
// and a polynomial of degree 6; the NumPy twin repeats it operation by operation.
WAZN_INLINE Floats exp(Floats x) {
  const Floats lowest = splat(-87.33654f);
  const Floats keep = _mm256_cmp_ps(x, lowest, _CMP_GE_OQ);
  const Floats clamped = max(_mm256_min_ps(x, splat(88.0f)), lowest);
  const Floats n = _mm256_round_ps(mul(clamped, splat(1.44269504088896341f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  Floats r = fnma(n, splat(0.693359375f), clamped);
  r = fnma(n, splat(-2.12194440e-4f), r);
  Floats p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = add(fma(p, mul(r, r), r), splat(1.0f));
  const Words scale = _mm256_slli_epi32(add_words(_mm256_cvtps_epi32(n), splat(127)), 23);
  return _mm256_and_ps(mul(p, _mm256_castsi256_ps(scale)), keep);
}
// Keeps the first `count` of 8 lanes, zeroes the others.
WAZN_INLINE Floats keep_first(Floats x, int64_t count) {
  const Words lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int32_t n = count < 0 ? 0 : (count > 8 ? 8 : (int32_t)count);
  return _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_cmpgt_epi32(splat(n), lane)));
}

}  // namespace
