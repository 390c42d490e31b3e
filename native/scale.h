// Scaling of rows of numbers, and a soft cap on them (Bello 2017).
#pragma once

#include "rows.h"

namespace {

// factor * x, or cap * tanh(factor * x / cap) if there is a cap, in place.
void scale(float* x, int64_t columns, float factor, float cap) {
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    Floats v = mul(load_some(x + i, left), splat(factor));
    if (cap > 0.0f) v = mul(splat(cap), tanh(div(v, splat(cap))));
    store_some(x + i, v, left);
  }
}

}  // namespace
