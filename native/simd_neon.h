// NEON of ARMv8.2 with the dot-product extension. 16 lanes are four registers. See simd.h for what
// each operation means.
#pragma once

#include <arm_neon.h>
#include <stdint.h>

namespace {

#define WAZN_INLINE inline __attribute__((always_inline))

struct Floats {
  float32x4_t v[4];
};
struct Words {
  int32x4_t v[4];
};
struct Bytes {
  uint8x16_t v[4];
};
struct Shorts {
  int16x8_t v[4];
};

constexpr int kTile = 2;       // rows per tile: 16 integer accumulators, 8 sums, weights
constexpr int kFloatTile = 6;  // 24 float accumulators

WAZN_INLINE bool prefers_near_fetches() { return false; }

// All four registers of a result: `expression` in terms of i.
template <class R, class F>
WAZN_INLINE R of_four(F f) {
  return {{f(0), f(1), f(2), f(3)}};
}
#define WAZN_EACH(R, expression) \
  of_four<R>([&](int i) __attribute__((always_inline)) { return expression; })

WAZN_INLINE Floats load(const float* p) { return WAZN_EACH(Floats, vld1q_f32(p + 4 * i)); }
WAZN_INLINE void store(float* p, Floats x) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.v[i]);
}
WAZN_INLINE Floats splat(float x) {
  const float32x4_t v = vdupq_n_f32(x);
  return {{v, v, v, v}};
}
WAZN_INLINE Floats add(Floats x, Floats y) { return WAZN_EACH(Floats, vaddq_f32(x.v[i], y.v[i])); }
WAZN_INLINE Floats sub(Floats x, Floats y) { return WAZN_EACH(Floats, vsubq_f32(x.v[i], y.v[i])); }
WAZN_INLINE Floats mul(Floats x, Floats y) { return WAZN_EACH(Floats, vmulq_f32(x.v[i], y.v[i])); }
WAZN_INLINE Floats div(Floats x, Floats y) { return WAZN_EACH(Floats, vdivq_f32(x.v[i], y.v[i])); }
// As on x86: the second operand where the comparison is false, also of NaN and of two zeros.
WAZN_INLINE float32x4_t larger(float32x4_t x, float32x4_t y) {
  return vbslq_f32(vcgtq_f32(x, y), x, y);
}
WAZN_INLINE Floats max(Floats x, Floats y) { return WAZN_EACH(Floats, larger(x.v[i], y.v[i])); }
WAZN_INLINE Floats min(Floats x, Floats y) {
  return WAZN_EACH(Floats, vbslq_f32(vcltq_f32(x.v[i], y.v[i]), x.v[i], y.v[i]));
}
WAZN_INLINE Floats fma(Floats x, Floats y, Floats z) {
  return WAZN_EACH(Floats, vfmaq_f32(z.v[i], x.v[i], y.v[i]));
}
WAZN_INLINE Floats fnma(Floats x, Floats y, Floats z) {
  return WAZN_EACH(Floats, vfmsq_f32(z.v[i], x.v[i], y.v[i]));
}
WAZN_INLINE Floats abs(Floats x) { return WAZN_EACH(Floats, vabsq_f32(x.v[i])); }
WAZN_INLINE Floats nearest(Floats x) { return WAZN_EACH(Floats, vrndnq_f32(x.v[i])); }
WAZN_INLINE Floats ceil(Floats x) { return WAZN_EACH(Floats, vrndpq_f32(x.v[i])); }
WAZN_INLINE float32x4_t keep_where(uint32x4_t mask, float32x4_t x) {
  return vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(x)));
}
WAZN_INLINE Floats zero_where_less(Floats x, Floats y, Floats bound) {
  return WAZN_EACH(Floats, keep_where(vcgeq_f32(y.v[i], bound.v[i]), x.v[i]));
}
WAZN_INLINE Floats keep_first(Floats x, int64_t count) {
  const int32x4_t n = vdupq_n_s32(count < 0 ? 0 : (count > 16 ? 16 : (int32_t)count));
  const int32_t first[4] = {0, 1, 2, 3};
  const int32x4_t lane = vld1q_s32(first);
  return WAZN_EACH(Floats, keep_where(vcgtq_s32(n, vaddq_s32(lane, vdupq_n_s32(4 * i))), x.v[i]));
}
WAZN_INLINE float sum_16(Floats x) {
  const float32x4_t s = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
  const float32x2_t t = vadd_f32(vget_low_f32(s), vget_high_f32(s));
  return vget_lane_f32(t, 0) + vget_lane_f32(t, 1);
}
WAZN_INLINE float max_16(Floats x) {
  const float32x4_t s = larger(larger(x.v[0], x.v[2]), larger(x.v[1], x.v[3]));
  const float32x2_t a = vget_low_f32(s), b = vget_high_f32(s);
  const float32x2_t t = vbsl_f32(vcgt_f32(a, b), a, b);
  const float first = vget_lane_f32(t, 0), second = vget_lane_f32(t, 1);
  return first > second ? first : second;
}
WAZN_INLINE Floats max_of_each(Floats x, Floats y) {
  const float32x4_t a = vdupq_n_f32(max_16(x)), b = vdupq_n_f32(max_16(y));
  return {{a, a, b, b}};
}
WAZN_INLINE Floats low_half_twice(Floats x) { return {{x.v[0], x.v[1], x.v[0], x.v[1]}}; }
WAZN_INLINE Floats high_half_twice(Floats x) { return {{x.v[2], x.v[3], x.v[2], x.v[3]}}; }

WAZN_INLINE Floats load_f16(const uint16_t* p) {
  return WAZN_EACH(Floats, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}
WAZN_INLINE uint16_t f16_of(float x) {
  return vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(x))), 0);
}
WAZN_INLINE Floats load_bf16(const uint16_t* p) {
  return WAZN_EACH(Floats, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
// 16 bytes as four times four words.
WAZN_INLINE uint32x4_t word_of_bytes(uint8x16_t x, int i) {
  const uint16x8_t halves = i < 2 ? vmovl_u8(vget_low_u8(x)) : vmovl_high_u8(x);
  return i % 2 == 0 ? vmovl_u16(vget_low_u16(halves)) : vmovl_high_u16(halves);
}
WAZN_INLINE float32x4_t e8m0_half_to_floats(uint32x4_t e) {
  const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
  const uint32x4_t subnormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
  return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), subnormal, normal));
}
WAZN_INLINE Floats load_e8m0_half(const uint8_t* p) {
  const uint8x16_t x = vld1q_u8(p);
  return WAZN_EACH(Floats, e8m0_half_to_floats(word_of_bytes(x, i)));
}
WAZN_INLINE Floats load_unsigned(const uint8_t* p) {
  const uint8x16_t x = vld1q_u8(p);
  return WAZN_EACH(Floats, vcvtq_f32_u32(word_of_bytes(x, i)));
}
WAZN_INLINE Floats load_signed(const int8_t* p) {
  const uint8x16_t x = veorq_u8(vld1q_u8((const uint8_t*)p), vdupq_n_u8(0x80));
  return WAZN_EACH(Floats, vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(word_of_bytes(x, i)),
                                                   vdupq_n_s32(128))));
}

WAZN_INLINE Words splat(int32_t x) {
  const int32x4_t v = vdupq_n_s32(x);
  return {{v, v, v, v}};
}
WAZN_INLINE Words no_words() { return splat(0); }
WAZN_INLINE Words add(Words x, Words y) { return WAZN_EACH(Words, vaddq_s32(x.v[i], y.v[i])); }
WAZN_INLINE Words sub(Words x, Words y) { return WAZN_EACH(Words, vsubq_s32(x.v[i], y.v[i])); }
template <int kBits>
WAZN_INLINE Words shift_left(Words x) {
  return WAZN_EACH(Words, vshlq_n_s32(x.v[i], kBits));
}
WAZN_INLINE Floats to_floats(Words x) { return WAZN_EACH(Floats, vcvtq_f32_s32(x.v[i])); }
// As on x86: INT32_MIN for whatever is out of range, and for NaN.
WAZN_INLINE int32x4_t to_word(float32x4_t x) {
  const uint32x4_t fits = vcaltq_f32(x, vdupq_n_f32(2147483648.0f));
  return vbslq_s32(fits, vcvtnq_s32_f32(x), vdupq_n_s32(INT32_MIN));
}
WAZN_INLINE Words to_words(Floats x) { return WAZN_EACH(Words, to_word(x.v[i])); }
WAZN_INLINE Words mul(Words x, Words y) { return WAZN_EACH(Words, vmulq_s32(x.v[i], y.v[i])); }
WAZN_INLINE Words max(Words x, Words y) { return WAZN_EACH(Words, vmaxq_s32(x.v[i], y.v[i])); }
WAZN_INLINE void store_words(int32_t* p, Words x) {
  for (int i = 0; i < 4; ++i) vst1q_s32(p + 4 * i, x.v[i]);
}
WAZN_INLINE void store_sums_of_8(int32_t* p, Words x, Words y) {
  p[0] = vaddvq_s32(vaddq_s32(x.v[0], x.v[1]));
  p[1] = vaddvq_s32(vaddq_s32(x.v[2], x.v[3]));
  p[2] = vaddvq_s32(vaddq_s32(y.v[0], y.v[1]));
  p[3] = vaddvq_s32(vaddq_s32(y.v[2], y.v[3]));
}
WAZN_INLINE Floats as_floats(Words x) { return WAZN_EACH(Floats, vreinterpretq_f32_s32(x.v[i])); }

WAZN_INLINE int16x8_t pack_to_halves(int32x4_t x, int32x4_t y) {
  return vqmovn_high_s32(vqmovn_s32(x), y);
}
WAZN_INLINE int8x16_t pack_to_bytes(Words x) {
  return vqmovn_high_s16(vqmovn_s16(pack_to_halves(x.v[0], x.v[1])),
                         pack_to_halves(x.v[2], x.v[3]));
}
WAZN_INLINE void store_bytes(int8_t* p, Words x) { vst1q_s8(p, pack_to_bytes(x)); }

// The weights of a line -------------------------------------------------------------------------

WAZN_INLINE Bytes load_line(const uint8_t* p) { return WAZN_EACH(Bytes, vld1q_u8(p + 16 * i)); }
WAZN_INLINE void store_line(uint8_t* p, Bytes x) {
  for (int i = 0; i < 4; ++i) vst1q_u8(p + 16 * i, x.v[i]);
}
WAZN_INLINE Bytes low_nibbles(Bytes x) {
  return WAZN_EACH(Bytes, vandq_u8(x.v[i], vdupq_n_u8(15)));
}
WAZN_INLINE Bytes high_nibbles(Bytes x) { return WAZN_EACH(Bytes, vshrq_n_u8(x.v[i], 4)); }
WAZN_INLINE Bytes bits(Bytes x, int from, int width, int to) {
  const uint8x16_t mask = vdupq_n_u8((uint8_t)(((1 << width) - 1) << to));
  const int8x16_t distance = vdupq_n_s8((int8_t)(to - from));  // negative: to the right
  return WAZN_EACH(Bytes, vandq_u8(vshlq_u8(x.v[i], distance), mask));
}
WAZN_INLINE Bytes with(Bytes x, Bytes y) { return WAZN_EACH(Bytes, vorrq_u8(x.v[i], y.v[i])); }
WAZN_INLINE Bytes look_up(const int8_t* table, Bytes x) {
  const uint8x16_t t = vld1q_u8((const uint8_t*)table);
  return WAZN_EACH(Bytes, vqtbl1q_u8(t, x.v[i]));
}
WAZN_INLINE Floats byte_to_floats(Bytes x, int byte, bool is_signed) {
  const int32x4_t left = vdupq_n_s32(24 - 8 * byte);
  const auto top = WAZN_EACH(Words, vshlq_s32(vreinterpretq_s32_u8(x.v[i]), left));
  if (is_signed) return WAZN_EACH(Floats, vcvtq_f32_s32(vshrq_n_s32(top.v[i], 24)));
  return WAZN_EACH(Floats, vcvtq_f32_u32(vshrq_n_u32(vreinterpretq_u32_s32(top.v[i]), 24)));
}

// Dot products with 8-bit activations -------------------------------------------------------------

constexpr bool kIsUnsigned = false;  // the dot product takes signed weights; unsigned ones fit, too
constexpr bool kMixesHalves = false;

WAZN_INLINE Shorts splat_pair(const int16_t* p) {
  const int16x8_t v = vcombine_s16(vdup_n_s16(p[0]), vdup_n_s16(p[1]));
  return {{v, v, v, v}};
}
WAZN_INLINE Shorts splat_short(int x) {
  const int16x8_t v = vdupq_n_s16((int16_t)x);
  return {{v, v, v, v}};
}
WAZN_INLINE Shorts load_pairs(const int8_t* first, const int8_t* second) {
  const int8x16_t x = vld1q_s8(first), y = vld1q_s8(second);
  const int16x8_t x_low = vmovl_s8(vget_low_s8(x)), x_high = vmovl_high_s8(x);
  const int16x8_t y_low = vmovl_s8(vget_low_s8(y)), y_high = vmovl_high_s8(y);
  return {{vcombine_s16(vget_low_s16(x_low), vget_low_s16(y_low)),
           vcombine_s16(vget_high_s16(x_low), vget_high_s16(y_low)),
           vcombine_s16(vget_low_s16(x_high), vget_low_s16(y_high)),
           vcombine_s16(vget_high_s16(x_high), vget_high_s16(y_high))}};
}
WAZN_INLINE Shorts load_shorts(const uint8_t* p) {
  return WAZN_EACH(Shorts, vreinterpretq_s16_u8(vld1q_u8(p + 16 * i)));
}
WAZN_INLINE void store_shorts(uint8_t* p, Shorts x) {
  for (int i = 0; i < 4; ++i) vst1q_u8(p + 16 * i, vreinterpretq_u8_s16(x.v[i]));
}
WAZN_INLINE Shorts mul(Shorts x, Shorts y) { return WAZN_EACH(Shorts, vmulq_s16(x.v[i], y.v[i])); }
WAZN_INLINE Words half_of(Shorts x, int half) {
  return WAZN_EACH(Words, half == 0 ? vmovl_s16(vget_low_s16(x.v[i])) : vmovl_high_s16(x.v[i]));
}
WAZN_INLINE Shorts sub(Shorts x, Shorts y) { return WAZN_EACH(Shorts, vsubq_s16(x.v[i], y.v[i])); }
WAZN_INLINE void pair_lines(Bytes& x, Bytes& y) {
  for (int i = 0; i < 4; ++i) {
    const uint16x8_t low = vreinterpretq_u16_u8(x.v[i]), high = vreinterpretq_u16_u8(y.v[i]);
    x.v[i] = vreinterpretq_u8_u16(vtrn1q_u16(low, high));
    y.v[i] = vreinterpretq_u8_u16(vtrn2q_u16(low, high));
  }
}
WAZN_INLINE Bytes flip_signs(Bytes x) { return x; }
struct Dots {
  Words half[2];
};
template <int kOffset, int kDepth>
WAZN_INLINE Dots start(const int16_t* sums, int) {
  return {{splat(-kOffset * sums[2]), splat(-kOffset * sums[3])}};
}
template <int kLane>
WAZN_INLINE void dot_lane(Words& s, Bytes w, int8x16_t x) {
  s = WAZN_EACH(Words, vdotq_laneq_s32(s.v[i], vreinterpretq_s8_u8(w.v[i]), x, kLane));
}
template <int kDepth>
WAZN_INLINE void dot(Dots& sum, int line, Bytes w, const int8_t* x) {
  Words& s = sum.half[line % 2];
  const int8x16_t four_lines = vld1q_s8(x - 4 * (line % 4));  // one load serves four lines
  switch (line % 4) {
    case 0:
      return dot_lane<0>(s, w, four_lines);
    case 1:
      return dot_lane<1>(s, w, four_lines);
    case 2:
      return dot_lane<2>(s, w, four_lines);
    default:
      return dot_lane<3>(s, w, four_lines);
  }
}
template <int kDepth>
constexpr int depth() {
  return 8;
}
template <int kDepth>
WAZN_INLINE Words weigh(const Dots& d, Shorts m) {
  return add(mul(d.half[0], half_of(m, 0)), mul(d.half[1], half_of(m, 1)));
}

// Dot products with 16-bit activations ------------------------------------------------------------

// The columns 2i and 2i + 1 of one half of a line.
template <bool kIsSigned>
WAZN_INLINE Shorts widened_half(Bytes x, int half) {
  uint8_t order[16];
  for (int row = 0; row < 4; ++row)
    for (int column = 0; column < 2; ++column) {
      const int at = 2 * (row + 4 * column), from = 4 * row + 2 * half + column;
      order[at] = (uint8_t)(kIsSigned ? 255 : from);
      order[at + 1] = (uint8_t)(kIsSigned ? from : 255);
    }
  const uint8x16_t places = vld1q_u8(order);
  constexpr int kShift = kIsSigned ? -8 : 0;
  return WAZN_EACH(
      Shorts, vshlq_s16(vreinterpretq_s16_u8(vqtbl1q_u8(x.v[i], places)), vdupq_n_s16(kShift)));
}
WAZN_INLINE void dot_wide(Words& sum, Shorts w, const int16_t* x) {
  const int16x4_t v = vreinterpret_s16_s32(vld1_dup_s32((const int32_t*)x));
  for (int i = 0; i < 4; ++i) {
    sum.v[i] = vmlal_lane_s16(sum.v[i], vget_low_s16(w.v[i]), v, 0);
    sum.v[i] = vmlal_high_lane_s16(sum.v[i], w.v[i], v, 1);
  }
}

// A row's 32 codes, in the order of the lines: units of four columns of each half in turn.
WAZN_INLINE void store_codes(int8_t* p, Words first, Words second) {
  const int32x4_t x = vreinterpretq_s32_s8(pack_to_bytes(first));
  const int32x4_t y = vreinterpretq_s32_s8(pack_to_bytes(second));
  vst1q_s8(p, vreinterpretq_s8_s32(vzip1q_s32(x, y)));
  vst1q_s8(p + 16, vreinterpretq_s8_s32(vzip2q_s32(x, y)));
}

}  // namespace
