// Work on one activation row: norm, activation functions, softmax, rotary embedding, quantisation.
// Sums run in 16 virtual lanes (element i in lane i % 16), folded the same way on every CPU.
#pragma once

#include "formats.h"

namespace {

using wazn::kScaleSpan;

// Reads x[i .. i + 16) where only `left` elements remain; `filler` stands for missing ones.
WAZN_INLINE Floats load_some(const float* x, int64_t left, float filler = 0.0f) {
  if (left >= 16) return load(x);
  float values[16];
  for (int64_t i = 0; i < 16; ++i) values[i] = i < left ? x[i] : filler;
  return load(values);
}
WAZN_INLINE void store_some(float* x, Floats v, int64_t left) {
  if (left >= 16) return store(x, v);
  float values[16];
  store(values, v);
  for (int64_t i = 0; i < left; ++i) x[i] = values[i];
}

// x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019). out may be x.
void rms_norm(const float* x, const float* weight, int64_t columns, float eps, float* out) {
  Floats sum = zero();
  for (int64_t i = 0; i < columns; i += 16) {
    const Floats a = load_some(x + i, columns - i);
    sum = fma(a, a, sum);
  }
  const float mean = sum_16(sum) / (float)columns;
  const Floats scale = splat(1.0f / __builtin_sqrtf(mean + eps));
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    const Floats v = mul(load_some(x + i, left), scale);
    store_some(out + i, mul(v, load_some(weight + i, left)), left);
  }
}

// silu(gate) * up, silu(g) = g / (1 + e^-g) (Shazeer 2020). out may be gate or up.
void swiglu(const float* gate, const float* up, int64_t columns, float* out) {
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    const Floats g = load_some(gate + i, left);
    const Floats silu = div(g, add(splat(1.0f), exp(sub(zero(), g))));
    store_some(out + i, mul(silu, load_some(up + i, left)), left);
  }
}

// 1 / (1 + e^-x). out may be x.
void sigmoid(const float* x, int64_t columns, float* out) {
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    const Floats e = exp(sub(zero(), load_some(x + i, left)));
    store_some(out + i, div(splat(1.0f), add(splat(1.0f), e)), left);
  }
}

// sigmoid(gate) * x. out may be gate or x.
void gate(const float* gate, const float* x, int64_t columns, float* out) {
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    const Floats e = exp(sub(zero(), load_some(gate + i, left)));
    store_some(out + i, div(load_some(x + i, left), add(splat(1.0f), e)), left);
  }
}

// ln(1 + e^x) = max(x, 0) + ln(1 + u), u = e^-|x|; ln(1 + u) = 2 artanh(u / (2 + u)), whose series
// needs nine terms for float32, as the argument is at most 1/3.
WAZN_INLINE Floats softplus(Floats x) {
  const Floats u = exp(sub(zero(), abs(x)));
  const Floats s = div(u, add(splat(2.0f), u)), square = mul(s, s);
  Floats series = splat(1.0f / 17.0f);
  for (int divisor = 15; divisor > 0; divisor -= 2)
    series = fma(series, square, splat(1.0f / (float)divisor));
  return add(max(x, zero()), mul(mul(splat(2.0f), s), series));
}

// sqrt(ln(1 + e^x)). out may be x.
void sqrt_softplus(const float* x, int64_t columns, float* out) {
  for (int64_t i = 0; i < columns; i += 16) {
    float values[16];
    store(values, softplus(load_some(x + i, columns - i)));
    for (float& value : values) value = __builtin_sqrtf(value);
    store_some(out + i, load(values), columns - i);
  }
}

// e^x / sum(e^x), shifted by the largest x. out may be x.
void softmax(const float* x, int64_t columns, float* out) {
  float largest = x[0];
  for (int64_t i = 1; i < columns; ++i) largest = x[i] > largest ? x[i] : largest;
  Floats sum = zero();
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    store_some(out + i, exp(sub(load_some(x + i, left), splat(largest))), left);
    sum = add(sum, load_some(out + i, left));
  }
  const Floats total = splat(sum_16(sum));
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    store_some(out + i, div(load_some(out + i, left), total), left);
  }
}

// out += factor * x, each in one rounding.
void add_scaled(const float* x, float factor, int64_t columns, float* out) {
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    store_some(out + i, fma(splat(factor), load_some(x + i, left), load_some(out + i, left)), left);
  }
}

// Rotates each head in place by angles[width / 2][cos, sin] (Su 2021), or back. Pairs are
// (i, i + half), or (2i, 2i + 1) when interleaved.
void rope(float* x, const float* angles, const wazn::RopeShape& shape) {
  const int64_t half = shape.width / 2;
  for (int64_t h = 0; h < shape.heads; ++h, x += shape.stride)
    for (int64_t i = 0; i < half; ++i) {
      const float c = angles[2 * i], s = shape.inverse ? -angles[2 * i + 1] : angles[2 * i + 1];
      float& a = x[shape.interleaved ? 2 * i : i];
      float& b = x[shape.interleaved ? 2 * i + 1 : i + half];
      const float rotated = __builtin_fmaf(a, c, -(b * s));  // explicit: gcc 12 fuses these
      b = __builtin_fmaf(a, s, b * c);                       // even when told not to
      a = rotated;
    }
}

// Spans whose largest magnitude is below this are taken as zero: their scales would underflow.
constexpr float kNothing = 1e-30f;

WAZN_INLINE float largest_of(const float* x, int64_t columns) {
  Floats largest = zero();
  for (int64_t i = 0; i < columns; i += 16) largest = max(abs(load(x + i)), largest);
  return max_16(largest);
}

// Codes of 16 columns. Of an infinite span, infinity times zero is the least code everywhere.
WAZN_INLINE Words rounded(Floats x, Floats inverse, int32_t largest) {
  return max(to_words(nearest(mul(x, inverse))), splat(-largest));
}

// int8 codes of 16 columns with the smallest step that reaches their largest magnitude and is a
// multiple of the span's scale.
void quantize(const float* x, int64_t columns, const wazn::Codes8& out) {
  constexpr float kLargest = (float)wazn::kLargestMultiplier;
  for (int64_t start = 0; start < columns; start += kScaleSpan) {
    const int64_t stop = columns - start < kScaleSpan ? columns : start + kScaleSpan;
    const float top = largest_of(x + start, stop - start);
    const bool is_zero = !(top >= kNothing);
    const float scale = is_zero ? 0.0f : top / (127.0f * kLargest);
    const float steps = is_zero ? 0.0f : kLargest / top;
    out.scales[start / kScaleSpan] = scale;
    for (int64_t i = start; i < stop; i += 32) {
      const Floats first = load(x + i), second = load(x + i + 16);
      const Floats steps_to_reach = ceil(mul(max_of_each(abs(first), abs(second)), splat(steps)));
      // NaN, of an infinite span, becomes 1, too.
      const Floats multiplier = min(max(steps_to_reach, splat(1.0f)), splat(kLargest));
      const Floats inverse = is_zero ? zero() : div(splat(1.0f), mul(splat(scale), multiplier));
      const Words codes[2] = {rounded(first, low_half_twice(inverse), 127),
                              rounded(second, high_half_twice(inverse), 127)};
      float multipliers[16];
      int32_t sums[4];
      store(multipliers, multiplier);
      store_sums_of_8(sums, codes[0], codes[1]);
      wazn::Block8& block = out.blocks[i / 32];
      for (int h = 0; h < 2; ++h) {
        block.multipliers[h] = (int16_t)multipliers[8 * h];
        block.code_sums[h] = (int16_t)sums[2 * h];
        block.code_sums[2 + h] = (int16_t)(sums[2 * h] + sums[2 * h + 1]);
      }
      block.sum = block.sum_of_half(0) + block.sum_of_half(1);
      store_codes(block.codes, codes[0], codes[1]);
    }
  }
}

// 16-bit codes of a span with one scale.
void quantize_wide(const float* x, int64_t columns, const wazn::Codes16& out) {
  constexpr int32_t kLargest = wazn::kLargestCode16;
  for (int64_t start = 0; start < columns; start += kScaleSpan) {
    const int64_t stop = columns - start < kScaleSpan ? columns : start + kScaleSpan;
    const float top = largest_of(x + start, stop - start);
    const bool is_zero = !(top >= kNothing);
    const float inverse = is_zero ? 0.0f : (float)kLargest / top;
    out.scales[start / kScaleSpan] = is_zero ? 0.0f : top / (float)kLargest;
    for (int64_t i = start; i < stop; i += 32) {
      wazn::Block16& block = out.blocks[i / 32];
      for (int h = 0; h < 2; ++h) {
        int32_t values[16];
        store_words(values, rounded(load(x + i + 16 * h), splat(inverse), kLargest));
        int32_t sum = 0;
        for (int c = 0; c < 16; ++c) {
          sum += values[c];
          block.codes[c / 2 * 4 + 2 * h + c % 2] = (int16_t)values[c];
        }
        block.sums[h] = sum;
      }
      block.sum = (float)(block.sums[0] + block.sums[1]);
    }
  }
}

}  // namespace
