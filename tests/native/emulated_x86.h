// Included before anything else where kernels for AVX-VNNI or AVX-512-VNNI are compiled for a CPU
// with AVX2 alone: SIMDe takes the place of the intrinsics, so that simd.h sees those instructions.
// The functions below are the ones that SIMDe 0.7.4 lacks, made of two halves of 256 bits.
#pragma once

#include <immintrin.h>
#include <string.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

namespace emulated {

inline __m512i join(__m256i low, __m256i high) {
  __m512i result;
  memcpy(&result, &low, 32);
  memcpy((char*)&result + 32, &high, 32);
  return result;
}
inline __m512 join(__m256 low, __m256 high) {
  __m512 result;
  memcpy(&result, &low, 32);
  memcpy((char*)&result + 32, &high, 32);
  return result;
}
template <class Half, class Whole>
inline Half half_of(const Whole& x, int i) {
  Half result;
  memcpy(&result, (const char*)&x + 32 * i, 32);
  return result;
}
inline __m256i low(__m512i x) { return half_of<__m256i>(x, 0); }
inline __m256i high(__m512i x) { return half_of<__m256i>(x, 1); }
inline __m256 low(__m512 x) { return half_of<__m256>(x, 0); }
inline __m256 high(__m512 x) { return half_of<__m256>(x, 1); }
inline __m128i upper(__m256i x) { return _mm256_extracti128_si256(x, 1); }

inline __m512 cvtepi32_ps(__m512i x) {
  return join(_mm256_cvtepi32_ps(low(x)), _mm256_cvtepi32_ps(high(x)));
}
inline __m512i cvtps_epi32(__m512 x) {
  return join(_mm256_cvtps_epi32(low(x)), _mm256_cvtps_epi32(high(x)));
}
inline __m512i cvtepi8_epi32(__m128i x) {
  return join(_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)));
}
inline __m512i cvtepu8_epi32(__m128i x) {
  return join(_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8)));
}
inline __m512i cvtepu16_epi32(__m256i x) {
  return join(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)), _mm256_cvtepu16_epi32(upper(x)));
}
inline __m512 cvtph_ps(__m256i x) {
  return join(_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(upper(x)));
}
inline __m512i srai_epi32(__m512i x, int bits) {
  return join(_mm256_srai_epi32(low(x), bits), _mm256_srai_epi32(high(x), bits));
}
inline __m512i srai_epi16(__m512i x, int bits) {
  return join(_mm256_srai_epi16(low(x), bits), _mm256_srai_epi16(high(x), bits));
}
inline __m256 extractf32x8_ps(__m512 x, int i) { return half_of<__m256>(x, i); }
inline __mmask16 cmplt_epi32_mask(__m512i x, __m512i y) {
  const __m256i a = _mm256_cmpgt_epi32(low(y), low(x)), b = _mm256_cmpgt_epi32(high(y), high(x));
  return (__mmask16)(_mm256_movemask_ps(_mm256_castsi256_ps(a)) |
                     _mm256_movemask_ps(_mm256_castsi256_ps(b)) << 8);
}

}  // namespace emulated

// Later versions of SIMDe have some of them.
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps emulated::cvtepi32_ps
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 emulated::cvtps_epi32
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 emulated::cvtepi8_epi32
#undef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32 emulated::cvtepu8_epi32
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 emulated::cvtepu16_epi32
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps emulated::cvtph_ps
#undef _mm512_srai_epi32
#define _mm512_srai_epi32 emulated::srai_epi32
#undef _mm512_srai_epi16
#define _mm512_srai_epi16 emulated::srai_epi16
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps emulated::extractf32x8_ps
#undef _mm512_cmplt_epi32_mask
#define _mm512_cmplt_epi32_mask emulated::cmplt_epi32_mask
#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
#undef _mm256_dpwssd_avx_epi32
#define _mm256_dpwssd_avx_epi32 simde_mm256_dpwssd_epi32
#undef _mm512_shuffle_f32x4  // has no alias in 0.7.4
#define _mm512_shuffle_f32x4 simde_mm512_shuffle_f32x4
#undef _mm512_roundscale_ps  // rounds upwards to the nearest in 0.7.4
#define _mm512_roundscale_ps(x, mode) \
  emulated::join(_mm256_round_ps(emulated::low(x), mode), _mm256_round_ps(emulated::high(x), mode))
#undef _mm512_madd_epi16  // has the operands of the masked form in 0.7.4
#define _mm512_madd_epi16 simde_mm512_madd_epi16

// What the compiler would define if it had the instructions.
#if defined(EMULATE_AVX512_VNNI)
#define __AVX512VNNI__ 1
#else
#define __AVXVNNI__ 1
#endif
