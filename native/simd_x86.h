// What AVX2 and AVX-512 share.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace {

#define WAZN_INLINE inline __attribute__((always_inline))

WAZN_INLINE __m128i load_16(const void* p) { return _mm_loadu_si128((const __m128i*)p); }

// Where the bytes of two columns of one half of a line lie, as int16: low bytes of codes without a
// sign, else high ones.
template <bool kIsSigned>
WAZN_INLINE __m128i order_of_half(int half) {
  const uint32_t codes = (uint32_t)(2 * half) | (uint32_t)(2 * half + 1) << 16;
  const uint32_t order = kIsSigned ? codes << 8 | 0x00800080u : codes | 0x80008000u;
  return _mm_add_epi32(_mm_set1_epi32((int)order),
                       _mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
}

}  // namespace
