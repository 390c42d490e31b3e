// What multiplies one half of a feed-forward network by the other, besides silu (rows.h).
#pragma once

#include "rows.h"

namespace {

// gelu(gate) * up with gelu's approximation by tanh (Hendrycks and Gimpel 2016):
// g / 2 * (1 + tanh(y)) = g / (1 + e^-2y), y = sqrt(2 / pi) * (g + 0.044715 g^3).
void geglu(const float* gate, const float* up, int64_t columns, float* out) {
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    const Floats g = load_some(gate + i, left);
    const Floats cubic = fma(mul(mul(g, g), splat(0.044715f)), g, g);
    const Floats power = exp(mul(splat(-1.5957691216057308f), cubic));
    const Floats gelu = div(g, add(splat(1.0f), power));
    store_some(out + i, mul(gelu, load_some(up + i, left)), left);
  }
}

// g * sigmoid(1.702 g) * (u + 1), g being no more than the limit and u within it on both sides
// (gpt-oss, OpenAI 2025).
void clamped_glu(const float* gate, const float* up, int64_t columns, float limit, float* out) {
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    const Floats g = min(load_some(gate + i, left), splat(limit));
    const Floats u = max(min(load_some(up + i, left), splat(limit)), splat(-limit));
    const Floats swish = div(g, add(splat(1.0f), exp(mul(splat(-1.702f), g))));
    store_some(out + i, mul(swish, add(u, splat(1.0f))), left);
  }
}

}  // namespace
