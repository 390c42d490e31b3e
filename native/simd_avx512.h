// AVX-512 with BW, VL, DQ and VNNI. 16 lanes are one register. See simd.h for what each operation
// means.
#pragma once

#include "simd_x86.h"

namespace {

struct Floats {
  __m512 v;
};
struct Words {
  __m512i v;
};
struct Bytes {
  __m512i v;
};
struct Shorts {
  __m512i v;
};

constexpr int kTile = 8;        // rows per tile: 16 integer accumulators, weights, temporaries
constexpr int kFloatTile = 12;  // 12 float accumulators

WAZN_INLINE Floats load(const float* p) { return {_mm512_loadu_ps(p)}; }
WAZN_INLINE void store(float* p, Floats x) { _mm512_storeu_ps(p, x.v); }
WAZN_INLINE Floats splat(float x) { return {_mm512_set1_ps(x)}; }
WAZN_INLINE Floats add(Floats x, Floats y) { return {_mm512_add_ps(x.v, y.v)}; }
WAZN_INLINE Floats sub(Floats x, Floats y) { return {_mm512_sub_ps(x.v, y.v)}; }
WAZN_INLINE Floats mul(Floats x, Floats y) { return {_mm512_mul_ps(x.v, y.v)}; }
WAZN_INLINE Floats div(Floats x, Floats y) { return {_mm512_div_ps(x.v, y.v)}; }
WAZN_INLINE Floats max(Floats x, Floats y) { return {_mm512_max_ps(x.v, y.v)}; }
WAZN_INLINE Floats min(Floats x, Floats y) { return {_mm512_min_ps(x.v, y.v)}; }
WAZN_INLINE Floats fma(Floats x, Floats y, Floats z) { return {_mm512_fmadd_ps(x.v, y.v, z.v)}; }
WAZN_INLINE Floats fnma(Floats x, Floats y, Floats z) { return {_mm512_fnmadd_ps(x.v, y.v, z.v)}; }
WAZN_INLINE Floats abs(Floats x) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), x.v)}; }
WAZN_INLINE Floats nearest(Floats x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
WAZN_INLINE Floats ceil(Floats x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)};
}
WAZN_INLINE Floats zero_where_less(Floats x, Floats y, Floats bound) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(y.v, bound.v, _CMP_GE_OQ), x.v)};
}
WAZN_INLINE Floats keep_first(Floats x, int64_t count) {
  const int n = count < 0 ? 0 : (count > 16 ? 16 : (int)count);
  return {_mm512_maskz_mov_ps((__mmask16)((1u << n) - 1), x.v)};
}
WAZN_INLINE float sum_16(Floats x) {
  const __m256 s = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
WAZN_INLINE __m256 max_of_halves(Floats x) {
  return _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
}
WAZN_INLINE float max_16(Floats x) {
  const __m256 s = max_of_halves(x);
  __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_max_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}
WAZN_INLINE Floats max_of_each(Floats x, Floats y) {
  const __m512 both = _mm512_castps256_ps512(max_of_eight_each(max_of_halves(x), max_of_halves(y)));
  return {_mm512_shuffle_f32x4(both, both, 0x50)};
}
WAZN_INLINE Floats low_half_twice(Floats x) { return {_mm512_shuffle_f32x4(x.v, x.v, 0x44)}; }
WAZN_INLINE Floats high_half_twice(Floats x) { return {_mm512_shuffle_f32x4(x.v, x.v, 0xEE)}; }

WAZN_INLINE Floats load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))};
}
WAZN_INLINE uint16_t f16_of(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
WAZN_INLINE Floats load_bf16(const uint16_t* p) {
  const __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(x, 16))};
}
WAZN_INLINE Floats load_e8m0_half(const uint8_t* p) {
  const __m512i e = _mm512_cvtepu8_epi32(load_16(p));
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
  const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
  const __mmask16 is_small = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
  return {_mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, is_small, subnormal))};
}
WAZN_INLINE Floats load_unsigned(const uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_16(p)))};
}
WAZN_INLINE Floats load_signed(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(p)))};
}

WAZN_INLINE Words no_words() { return {_mm512_setzero_si512()}; }
WAZN_INLINE Words splat(int32_t x) { return {_mm512_set1_epi32(x)}; }
WAZN_INLINE Words add(Words x, Words y) { return {_mm512_add_epi32(x.v, y.v)}; }
WAZN_INLINE Words sub(Words x, Words y) { return {_mm512_sub_epi32(x.v, y.v)}; }
template <int kBits>
WAZN_INLINE Words shift_left(Words x) {
  return {_mm512_slli_epi32(x.v, kBits)};
}
WAZN_INLINE Floats to_floats(Words x) { return {_mm512_cvtepi32_ps(x.v)}; }
WAZN_INLINE Words to_words(Floats x) { return {_mm512_cvtps_epi32(x.v)}; }
WAZN_INLINE Words mul(Words x, Words y) { return {_mm512_mullo_epi32(x.v, y.v)}; }
WAZN_INLINE Words max(Words x, Words y) { return {_mm512_max_epi32(x.v, y.v)}; }
WAZN_INLINE void store_words(int32_t* p, Words x) { _mm512_storeu_si512(p, x.v); }
WAZN_INLINE void store_sums_of_8(int32_t* p, Words x, Words y) {
  store_sums(p, _mm512_castsi512_si256(x.v), _mm512_extracti64x4_epi64(x.v, 1),
             _mm512_castsi512_si256(y.v), _mm512_extracti64x4_epi64(y.v, 1));
}
WAZN_INLINE Floats as_floats(Words x) { return {_mm512_castsi512_ps(x.v)}; }

WAZN_INLINE __m128i pack_to_bytes(Words x) { return _mm512_cvtsepi32_epi8(x.v); }
WAZN_INLINE void store_bytes(int8_t* p, Words x) {
  _mm_storeu_si128((__m128i*)p, pack_to_bytes(x));
}

// The weights of a line -------------------------------------------------------------------------

WAZN_INLINE Bytes load_line(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
WAZN_INLINE void store_line(uint8_t* p, Bytes x) { _mm512_storeu_si512(p, x.v); }
WAZN_INLINE Bytes low_nibbles(Bytes x) { return {_mm512_and_si512(x.v, _mm512_set1_epi8(15))}; }
WAZN_INLINE Bytes high_nibbles(Bytes x) { return low_nibbles({_mm512_srli_epi16(x.v, 4)}); }
WAZN_INLINE Bytes bits(Bytes x, int from, int width, int to) {
  const __m512i mask = _mm512_set1_epi8((char)(((1 << width) - 1) << to));
  const __m512i moved =
      from > to ? _mm512_srli_epi16(x.v, from - to) : _mm512_slli_epi16(x.v, to - from);
  return {_mm512_and_si512(moved, mask)};
}
WAZN_INLINE Bytes with(Bytes x, Bytes y) { return {_mm512_or_si512(x.v, y.v)}; }
WAZN_INLINE Bytes look_up(const int8_t* table, Bytes x) {
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(load_16(table)), x.v)};
}
WAZN_INLINE Floats byte_to_floats(Bytes x, int i, bool is_signed) {
  const __m512i top = _mm512_slli_epi32(x.v, 24 - 8 * i);
  return {_mm512_cvtepi32_ps(is_signed ? _mm512_srai_epi32(top, 24) : _mm512_srli_epi32(top, 24))};
}

// Dot products with 8-bit activations -------------------------------------------------------------

constexpr bool kIsUnsigned = true;  // the dot product takes unsigned weights only
constexpr bool kMixesHalves = false;

WAZN_INLINE Shorts splat_pair(const int16_t* p) {
  int32_t v;
  __builtin_memcpy(&v, p, 4);
  return {_mm512_set1_epi32(v)};
}
WAZN_INLINE Shorts splat_short(int x) { return {_mm512_set1_epi16((int16_t)x)}; }
WAZN_INLINE Shorts load_pairs(const int8_t* first, const int8_t* second) {
  const __m128i x = load_16(first), y = load_16(second);
  return {_mm512_cvtepi8_epi16(_mm256_set_m128i(_mm_unpackhi_epi8(x, y), _mm_unpacklo_epi8(x, y)))};
}
WAZN_INLINE Shorts load_shorts(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
WAZN_INLINE void store_shorts(uint8_t* p, Shorts x) { _mm512_storeu_si512(p, x.v); }
WAZN_INLINE Shorts mul(Shorts x, Shorts y) { return {_mm512_mullo_epi16(x.v, y.v)}; }
WAZN_INLINE Words half_of(Shorts x, int half) {
  return {_mm512_srai_epi32(half == 0 ? _mm512_slli_epi32(x.v, 16) : x.v, 16)};
}
WAZN_INLINE Shorts sub(Shorts x, Shorts y) { return {_mm512_sub_epi16(x.v, y.v)}; }
WAZN_INLINE __m512i join_halves(__m512i x, __m512i y) {  // (x low, y low) of each lane
  return _mm512_mask_blend_epi16(0xaaaaaaaau, x, _mm512_slli_epi32(y, 16));
}
WAZN_INLINE void pair_lines(Bytes& x, Bytes& y) {
  const __m512i low = x.v, high = y.v;
  x = {join_halves(low, high)};
  y = {_mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(low, 16), high)};
}
WAZN_INLINE Bytes flip_signs(Bytes x) {
  return {_mm512_xor_si512(x.v, _mm512_set1_epi8((char)0x80))};
}
struct Dots {
  Words half[2];
};
template <int kOffset, int kDepth>
WAZN_INLINE Dots start(const int16_t* sums, int) {
  return {{splat(-kOffset * sums[2]), splat(-kOffset * sums[3])}};
}
template <int kDepth>
WAZN_INLINE void dot(Dots& sum, int line, Bytes w, const int8_t* x) {
  int32_t v;
  __builtin_memcpy(&v, x, 4);
  Words& s = sum.half[line % 2];
  s = {_mm512_dpbusd_epi32(s.v, w.v, _mm512_set1_epi32(v))};
}
template <int kDepth>
constexpr int depth() {
  return 8;
}
template <int kDepth>
WAZN_INLINE Words weigh(const Dots& d, Shorts m) {
  if constexpr (kDepth == 8) return {_mm512_madd_epi16(join_halves(d.half[0].v, d.half[1].v), m.v)};
  return add(mul(d.half[0], half_of(m, 0)), mul(d.half[1], half_of(m, 1)));
}

// Dot products with 16-bit activations ------------------------------------------------------------

// The columns 2i and 2i + 1 of one half of a line.
template <bool kIsSigned>
WAZN_INLINE Shorts widened_half(Bytes x, int half) {
  const __m512i order = _mm512_broadcast_i32x4(order_of_half<kIsSigned>(half));
  const __m512i pairs = _mm512_shuffle_epi8(x.v, order);
  return {kIsSigned ? _mm512_srai_epi16(pairs, 8) : pairs};
}
WAZN_INLINE void dot_wide(Words& sum, Shorts w, const int16_t* x) {
  sum = {_mm512_dpwssd_epi32(sum.v, w.v, splat_pair(x).v)};
}

// A row's 32 codes, in the order of the lines: units of four columns of each half in turn.
WAZN_INLINE void store_codes(int8_t* p, Words first, Words second) {
  const __m128i x = pack_to_bytes(first), y = pack_to_bytes(second);
  _mm_storeu_si128((__m128i*)p, _mm_unpacklo_epi32(x, y));
  _mm_storeu_si128((__m128i*)(p + 16), _mm_unpackhi_epi32(x, y));
}

}  // namespace
