// AVX2 with FMA and F16C; with AVX-VNNI (ymm) if the compiler may use it. 16 lanes are two
// registers. See simd.h for what each operation means.
#pragma once

#include "simd_x86.h"

namespace {

struct Floats {
  __m256 a, b;
};
struct Words {
  __m256i a, b;
};
struct Bytes {
  __m256i a, b;
};
struct Shorts {
  __m256i a, b;
};

constexpr int kTile = 4;       // rows per tile: 8 integer accumulators, 2 weights, temporaries
constexpr int kFloatTile = 6;  // 12 float accumulators

WAZN_INLINE Floats load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
WAZN_INLINE void store(float* p, Floats x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
WAZN_INLINE Floats splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
WAZN_INLINE Floats add(Floats x, Floats y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
WAZN_INLINE Floats sub(Floats x, Floats y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
WAZN_INLINE Floats mul(Floats x, Floats y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
WAZN_INLINE Floats div(Floats x, Floats y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
WAZN_INLINE Floats max(Floats x, Floats y) {
  return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
WAZN_INLINE Floats min(Floats x, Floats y) {
  return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
WAZN_INLINE Floats fma(Floats x, Floats y, Floats z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
WAZN_INLINE Floats fnma(Floats x, Floats y, Floats z) {
  return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
WAZN_INLINE Floats abs(Floats x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
WAZN_INLINE Floats nearest(Floats x) {
  constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.a, mode), _mm256_round_ps(x.b, mode)};
}
WAZN_INLINE Floats ceil(Floats x) { return {_mm256_ceil_ps(x.a), _mm256_ceil_ps(x.b)}; }
WAZN_INLINE Floats zero_where_less(Floats x, Floats y, Floats bound) {
  return {_mm256_and_ps(x.a, _mm256_cmp_ps(y.a, bound.a, _CMP_GE_OQ)),
          _mm256_and_ps(x.b, _mm256_cmp_ps(y.b, bound.b, _CMP_GE_OQ))};
}
WAZN_INLINE Floats keep_first(Floats x, int64_t count) {
  const __m256i n = _mm256_set1_epi32(count < 0 ? 0 : (count > 16 ? 16 : (int32_t)count));
  const __m256i low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
  return {_mm256_and_ps(x.a, _mm256_castsi256_ps(_mm256_cmpgt_epi32(n, low))),
          _mm256_and_ps(x.b, _mm256_castsi256_ps(_mm256_cmpgt_epi32(n, high)))};
}
WAZN_INLINE float sum_16(Floats x) {
  const __m256 s = _mm256_add_ps(x.a, x.b);
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
WAZN_INLINE float max_16(Floats x) {
  const __m256 s = _mm256_max_ps(x.a, x.b);
  __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_max_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}
WAZN_INLINE Floats max_of_each(Floats x, Floats y) {
  const __m256 u = max_of_eight_each(_mm256_max_ps(x.a, x.b), _mm256_max_ps(y.a, y.b));
  return {_mm256_permute2f128_ps(u, u, 0x00), _mm256_permute2f128_ps(u, u, 0x11)};
}
WAZN_INLINE Floats low_half_twice(Floats x) { return {x.a, x.a}; }
WAZN_INLINE Floats high_half_twice(Floats x) { return {x.b, x.b}; }

WAZN_INLINE Floats load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)),
          _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
WAZN_INLINE uint16_t f16_of(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
WAZN_INLINE __m256 bf16_to_floats(const uint16_t* p) {
  const __m128i x = _mm_loadu_si128((const __m128i*)p);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
WAZN_INLINE Floats load_bf16(const uint16_t* p) {
  return {bf16_to_floats(p), bf16_to_floats(p + 8)};
}
WAZN_INLINE __m256 e8m0_half_to_floats(const uint8_t* p) {
  const __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
  const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  const __m256i is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, is_small));
}
WAZN_INLINE Floats load_e8m0_half(const uint8_t* p) {
  return {e8m0_half_to_floats(p), e8m0_half_to_floats(p + 8)};
}
WAZN_INLINE Floats load_unsigned(const uint8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p))),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8))))};
}
WAZN_INLINE Floats load_signed(const int8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p))),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8))))};
}

WAZN_INLINE Words no_words() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
WAZN_INLINE Words splat(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
WAZN_INLINE Words add(Words x, Words y) {
  return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
WAZN_INLINE Words sub(Words x, Words y) {
  return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)};
}
template <int kBits>
WAZN_INLINE Words shift_left(Words x) {
  return {_mm256_slli_epi32(x.a, kBits), _mm256_slli_epi32(x.b, kBits)};
}
WAZN_INLINE Floats to_floats(Words x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
WAZN_INLINE Words to_words(Floats x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
WAZN_INLINE Words mul(Words x, Words y) {
  return {_mm256_mullo_epi32(x.a, y.a), _mm256_mullo_epi32(x.b, y.b)};
}
WAZN_INLINE Words max(Words x, Words y) {
  return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)};
}
WAZN_INLINE void store_words(int32_t* p, Words x) {
  _mm256_storeu_si256((__m256i*)p, x.a);
  _mm256_storeu_si256((__m256i*)(p + 8), x.b);
}
WAZN_INLINE void store_sums_of_8(int32_t* p, Words x, Words y) {
  store_sums(p, x.a, x.b, y.a, y.b);
}
WAZN_INLINE Floats as_floats(Words x) {
  return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}

WAZN_INLINE __m128i pack_to_bytes(Words x) {
  const __m256i halves = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
  return _mm_packs_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
}
WAZN_INLINE void store_bytes(int8_t* p, Words x) {
  _mm_storeu_si128((__m128i*)p, pack_to_bytes(x));
}

// The weights of a line -------------------------------------------------------------------------

WAZN_INLINE Bytes load_line(const uint8_t* p) {
  return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)(p + 32))};
}
WAZN_INLINE void store_line(uint8_t* p, Bytes x) {
  _mm256_storeu_si256((__m256i*)p, x.a);
  _mm256_storeu_si256((__m256i*)(p + 32), x.b);
}
WAZN_INLINE Bytes low_nibbles(Bytes x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)};
}
WAZN_INLINE Bytes high_nibbles(Bytes x) {
  return low_nibbles({_mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4)});
}
WAZN_INLINE __m256i bits(__m256i x, int from, int width, int to) {
  const __m256i mask = _mm256_set1_epi8((char)(((1 << width) - 1) << to));
  const __m256i moved =
      from > to ? _mm256_srli_epi16(x, from - to) : _mm256_slli_epi16(x, to - from);
  return _mm256_and_si256(moved, mask);
}
WAZN_INLINE Bytes bits(Bytes x, int from, int width, int to) {
  return {bits(x.a, from, width, to), bits(x.b, from, width, to)};
}
WAZN_INLINE Bytes with(Bytes x, Bytes y) {
  return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
WAZN_INLINE Bytes look_up(const int8_t* table, Bytes x) {
  const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table));
  return {_mm256_shuffle_epi8(t, x.a), _mm256_shuffle_epi8(t, x.b)};
}
WAZN_INLINE Floats byte_to_floats(Bytes x, int i, bool is_signed) {
  const __m256i a = _mm256_slli_epi32(x.a, 24 - 8 * i), b = _mm256_slli_epi32(x.b, 24 - 8 * i);
  if (is_signed)
    return {_mm256_cvtepi32_ps(_mm256_srai_epi32(a, 24)),
            _mm256_cvtepi32_ps(_mm256_srai_epi32(b, 24))};
  return {_mm256_cvtepi32_ps(_mm256_srli_epi32(a, 24)),
          _mm256_cvtepi32_ps(_mm256_srli_epi32(b, 24))};
}

// Dot products with 8-bit activations -------------------------------------------------------------

WAZN_INLINE __m256i repeat_4(const int8_t* p) {
  int32_t v;
  __builtin_memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}
WAZN_INLINE __m256i repeat_pair(const int16_t* p) {
  int32_t v;
  __builtin_memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}
WAZN_INLINE Shorts splat_pair(const int16_t* p) { return {repeat_pair(p), repeat_pair(p)}; }
WAZN_INLINE Shorts splat_short(int x) {
  return {_mm256_set1_epi16((int16_t)x), _mm256_set1_epi16((int16_t)x)};
}
WAZN_INLINE Shorts load_pairs(const int8_t* first, const int8_t* second) {
  const __m128i x = load_16(first), y = load_16(second);
  return {_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(x, y)),
          _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(x, y))};
}
WAZN_INLINE Shorts load_shorts(const uint8_t* p) {
  const Bytes x = load_line(p);
  return {x.a, x.b};
}
WAZN_INLINE void store_shorts(uint8_t* p, Shorts x) { store_line(p, {x.a, x.b}); }
WAZN_INLINE Shorts mul(Shorts x, Shorts y) {
  return {_mm256_mullo_epi16(x.a, y.a), _mm256_mullo_epi16(x.b, y.b)};
}
WAZN_INLINE Words half_of(Shorts x, int half) {
  if (half == 0) x = {_mm256_slli_epi32(x.a, 16), _mm256_slli_epi32(x.b, 16)};
  return {_mm256_srai_epi32(x.a, 16), _mm256_srai_epi32(x.b, 16)};
}
WAZN_INLINE Shorts sub(Shorts x, Shorts y) {
  return {_mm256_sub_epi16(x.a, y.a), _mm256_sub_epi16(x.b, y.b)};
}

#if defined(__AVXVNNI__)

constexpr bool kIsUnsigned = true;  // the dot product takes unsigned weights only
constexpr bool kMixesHalves = false;

WAZN_INLINE __m256i join_halves(__m256i x, __m256i y) {  // (x low, y low) of each lane
  return _mm256_blend_epi16(x, _mm256_slli_epi32(y, 16), 0xaa);
}
WAZN_INLINE void pair_lines(Bytes& x, Bytes& y) {
  const Bytes low = x, high = y;
  x = {join_halves(low.a, high.a), join_halves(low.b, high.b)};
  y = {_mm256_blend_epi16(_mm256_srli_epi32(low.a, 16), high.a, 0xaa),
       _mm256_blend_epi16(_mm256_srli_epi32(low.b, 16), high.b, 0xaa)};
}
WAZN_INLINE Bytes flip_signs(Bytes x) {
  const __m256i top = _mm256_set1_epi8((char)0x80);
  return {_mm256_xor_si256(x.a, top), _mm256_xor_si256(x.b, top)};
}
struct Dots {
  Words half[2];
};
template <int kOffset, int kDepth>
WAZN_INLINE Dots start(const int16_t* sums, int) {
  return {splat(-kOffset * sums[2]), splat(-kOffset * sums[3])};
}
template <int kDepth>
WAZN_INLINE void dot(Dots& sum, int line, Bytes w, const int8_t* x) {
  Words& s = sum.half[line % 2];
  const __m256i v = repeat_4(x);
  s = {_mm256_dpbusd_avx_epi32(s.a, w.a, v), _mm256_dpbusd_avx_epi32(s.b, w.b, v)};
}
template <int kDepth>
constexpr int depth() {
  return 8;
}
template <int kDepth>
WAZN_INLINE Words weigh(const Dots& d, Shorts m) {
  if constexpr (kDepth == 8)
    return {_mm256_madd_epi16(join_halves(d.half[0].a, d.half[1].a), m.a),
            _mm256_madd_epi16(join_halves(d.half[0].b, d.half[1].b), m.b)};
  return add(mul(d.half[0], half_of(m, 0)), mul(d.half[1], half_of(m, 1)));
}

#else

constexpr bool kIsUnsigned = false;  // signed weights go through their magnitude
constexpr bool kMixesHalves = true;  // a lane's four columns: two of each half

WAZN_INLINE void pair_lines(Bytes&, Bytes&) {}
WAZN_INLINE Bytes flip_signs(Bytes x) { return x; }
struct Dots {
  __m256i a, b;  // int16 (first half, second half) per row
};
// Overflow on the way is no harm: the sums of codes less their offset fit.
template <int kOffset, int kDepth>
WAZN_INLINE Dots start(const int16_t* sums, int line) {
  if constexpr (kOffset == 0) return {_mm256_setzero_si256(), _mm256_setzero_si256()};
  __m256i sum = repeat_pair(kDepth == 8 || line > 0 ? sums + 2 : sums);
  if (line > 0) sum = _mm256_sub_epi16(sum, repeat_pair(sums));
  sum = _mm256_mullo_epi16(sum, _mm256_set1_epi16(-kOffset));
  return {sum, sum};
}
// Signed codes (depth 0) are added up for one line only.
template <int kDepth>
WAZN_INLINE void dot(Dots& sum, int, Bytes w, const int8_t* x) {
  const __m256i v = repeat_4(x);
  __m256i a, b;
  if constexpr (kDepth == 0) {
    a = _mm256_maddubs_epi16(_mm256_abs_epi8(w.a), _mm256_sign_epi8(v, w.a));
    b = _mm256_maddubs_epi16(_mm256_abs_epi8(w.b), _mm256_sign_epi8(v, w.b));
  } else {
    a = _mm256_maddubs_epi16(w.a, v);
    b = _mm256_maddubs_epi16(w.b, v);
  }
  // gcc 12 reorders and spills accumulators without the fences (28 instead of 43 MAC/cycle, Zen 3).
  // Both products come before both sums: 3% on Zen 4.
  asm volatile("" : "+x"(a), "+x"(b));
  sum.a = kDepth == 0 ? a : _mm256_add_epi16(sum.a, a);
  sum.b = kDepth == 0 ? b : _mm256_add_epi16(sum.b, b);
  asm volatile("" : "+x"(sum.a), "+x"(sum.b));
}
template <int kDepth>
constexpr int depth() {
  return kDepth == 0 ? 1 : kDepth;
}
template <int kDepth>
WAZN_INLINE Words weigh(const Dots& d, Shorts m) {
  return {_mm256_madd_epi16(d.a, m.a), _mm256_madd_epi16(d.b, m.b)};
}

#endif

// Dot products with 16-bit activations ------------------------------------------------------------

// The columns 2i and 2i + 1 of one half of a line.
template <bool kIsSigned>
WAZN_INLINE Shorts widened_half(Bytes x, int half) {
  const __m256i order = _mm256_broadcastsi128_si256(order_of_half<kIsSigned>(half));
  const __m256i a = _mm256_shuffle_epi8(x.a, order), b = _mm256_shuffle_epi8(x.b, order);
  if constexpr (kIsSigned) return {_mm256_srai_epi16(a, 8), _mm256_srai_epi16(b, 8)};
  return {a, b};
}
WAZN_INLINE void dot_wide(Words& sum, Shorts w, const int16_t* x) {
  const __m256i v = repeat_pair(x);
#if defined(__AVXVNNI__)
  sum = {_mm256_dpwssd_avx_epi32(sum.a, w.a, v), _mm256_dpwssd_avx_epi32(sum.b, w.b, v)};
#else
  sum.a = _mm256_add_epi32(sum.a, _mm256_madd_epi16(w.a, v));
  asm volatile("" : "+x"(sum.a));  // as above
  sum.b = _mm256_add_epi32(sum.b, _mm256_madd_epi16(w.b, v));
  asm volatile("" : "+x"(sum.b));
#endif
}

// A row's 32 codes, in the order of the lines: units of two columns (or four) of each half in turn.
WAZN_INLINE void store_codes(int8_t* p, Words first, Words second) {
  const __m128i x = pack_to_bytes(first), y = pack_to_bytes(second);
  const __m128i low = kMixesHalves ? _mm_unpacklo_epi16(x, y) : _mm_unpacklo_epi32(x, y);
  const __m128i high = kMixesHalves ? _mm_unpackhi_epi16(x, y) : _mm_unpackhi_epi32(x, y);
  _mm_storeu_si128((__m128i*)p, low);
  _mm_storeu_si128((__m128i*)(p + 16), high);
}

}  // namespace
