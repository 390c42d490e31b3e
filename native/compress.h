// Pooling of several rows into one (DeepSeek-V4, DeepSeek-AI 2026), and limits of activations.
#pragma once

#include "layer_kernels.h"
#include "rows.h"

namespace {

using wazn::Slot;

// out = sum over slots of values * softmax over slots of (gates + biases), column by column.
void pool(const Slot* slots, int64_t count, int64_t columns, float* out) {
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    const auto gate = [&](const Slot& slot) {
      return add(load_some(slot.gates + i, left), load_some(slot.biases + i, left));
    };
    Floats top = gate(slots[0]);
    for (int64_t s = 1; s < count; ++s) top = max(gate(slots[s]), top);
    Floats sum = zero(), total = zero();
    for (int64_t s = 0; s < count; ++s) {
      const Floats weight = exp(sub(gate(slots[s]), top));
      total = add(total, weight);
      sum = fma(weight, load_some(slots[s].values + i, left), sum);
    }
    store_some(out + i, div(sum, total), left);
  }
}

void clamp(float* x, int64_t columns, float low, float high) {
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    store_some(x + i, min(max(load_some(x + i, left), splat(low)), splat(high)), left);
  }
}

}  // namespace
