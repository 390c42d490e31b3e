// Work on one activation row: norm, activation function, rotary embedding, quantisation.
// Sums run in 16 virtual lanes (element i in lane i % 16), folded the same way on every CPU.
#pragma once

#include "formats.h"

namespace {

// Reads x[i .. i + 8) where only `left` elements remain; missing ones are zero.
WAZN_INLINE Floats load_some(const float* x, int64_t left) {
  if (left >= 8) return load(x);
  float values[8] = {0};
  for (int64_t i = 0; i < left; ++i) values[i] = x[i];
  return load(values);
}
WAZN_INLINE void store_some(float* x, Floats v, int64_t left) {
  if (left >= 8) return store(x, v);
  float values[8];
  store(values, v);
  for (int64_t i = 0; i < left; ++i) x[i] = values[i];
}

// x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019). out may be x.
void rms_norm(const float* x, const float* weight, int64_t columns, float eps, float* out) {
  Floats low = zero(), high = zero();
  for (int64_t i = 0; i < columns; i += 16) {
    const Floats a = load_some(x + i, columns - i), b = load_some(x + i + 8, columns - i - 8);
    low = fma(a, a, low);
    high = fma(b, b, high);
  }
  const float mean = sum_16(low, high) / (float)columns;
  const Floats scale = splat(1.0f / __builtin_sqrtf(mean + eps));
  for (int64_t i = 0; i < columns; i += 8) {
    const int64_t left = columns - i;
    const Floats v = mul(load_some(x + i, left), scale);
    store_some(out + i, mul(v, load_some(weight + i, left)), left);
  }
}

// silu(gate) * up, silu(g) = g / (1 + e^-g) (Shazeer 2020). out may be gate or up.
void swiglu(const float* gate, const float* up, int64_t columns, float* out) {
  for (int64_t i = 0; i < columns; i += 8) {
    const int64_t left = columns - i;
    const Floats g = load_some(gate + i, left);
    const Floats silu = div(g, add(splat(1.0f), exp(sub(zero(), g))));
    store_some(out + i, mul(silu, load_some(up + i, left)), left);
  }
}

// Rotates each head in place by angles[head_dim / 2][cos, sin] (Su 2021). Pairs are (i, i + half),
// or (2i, 2i + 1) when interleaved.
void rope(float* x, int64_t heads, int64_t head_dim, const float* angles, bool interleaved) {
  const int64_t half = head_dim / 2;
  for (int64_t h = 0; h < heads; ++h, x += head_dim)
    for (int64_t i = 0; i < half; ++i) {
      const float c = angles[2 * i], s = angles[2 * i + 1];
      float& a = x[interleaved ? 2 * i : i];
      float& b = x[interleaved ? 2 * i + 1 : i + half];
      const float rotated = __builtin_fmaf(a, c, -(b * s));  // explicit: gcc 12 fuses these
      b = __builtin_fmaf(a, s, b * c);                       // even when told not to
      a = rotated;
    }
}

// Symmetric int8: scale = max|x| / 127, codes to the nearest, ties to even.
WAZN_INLINE float quantize_block(const float* x, int64_t columns, int8_t* codes) {
  Floats largest = zero();
  for (int64_t i = 0; i < columns; i += 8) largest = max(abs(load(x + i)), largest);
  const float top = max_8(largest);
  const Floats inverse = splat(top > 0.0f ? 127.0f / top : 0.0f);
  for (int64_t i = 0; i < columns; i += 32)
    store_bytes(codes + i, to_int8(mul(load(x + i), inverse), mul(load(x + i + 8), inverse),
                                   mul(load(x + i + 16), inverse), mul(load(x + i + 24), inverse)));
  return top / 127.0f;
}

WAZN_INLINE int32_t sum_codes(const int8_t* codes, int64_t count) {
  int32_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += codes[i];
  return sum;
}

void quantize_32(const float* x, int64_t columns, const wazn::Quantised32& out) {
  for (int64_t b = 0; b < columns / 32; ++b) {
    out.scales[b] = quantize_block(x + 32 * b, 32, out.codes + 32 * b);
    out.sums[b] = sum_codes(out.codes + 32 * b, 32);
  }
}

void quantize_256(const float* x, int64_t columns, const wazn::Quantised256& out) {
  for (int64_t b = 0; b < columns / 256; ++b)
    out.scales[b] = quantize_block(x + 256 * b, 256, out.codes + 256 * b);
  for (int64_t s = 0; s < columns / 16; ++s)
    out.sums_16[s] = (int16_t)sum_codes(out.codes + 16 * s, 16);
  for (int64_t s = 0; s < columns / 32; ++s)
    out.sums_32[s] = (int16_t)(out.sums_16[2 * s] + out.sums_16[2 * s + 1]);
}

}  // namespace
