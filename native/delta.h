// Linear attention with a gated delta rule (Yang 2024, Qwen3-Next 2025): a short causal
// convolution, and a matrix of memory per head that every row decays, corrects and reads. Rows
// follow one another strictly, so that a state depends on nothing but the rows before it.
#pragma once

#include "layer_kernels.h"
#include "rows.h"

namespace {

using wazn::DeltaTask;

// y[t] = silu(sum over j of weight[j] * x[t - size + 1 + j]), each column by itself, in place.
// weight (size, columns); window (size - 1, columns) holds the rows before, and gains these.
void causal_conv(float* x, int64_t stride, int64_t num_rows, int64_t first, int64_t last,
                 const float* weight, int64_t size, float* window, int64_t columns) {
  for (int64_t row = 0; row < num_rows; ++row, x += stride)
    for (int64_t c = first; c < last; c += 16) {
      const int64_t left = last - c;
      const Floats now = load_some(x + c, left);
      Floats sum = zero();
      for (int64_t j = 0; j + 1 < size; ++j) {
        float* past = window + j * columns + c;
        sum = fma(load_some(weight + j * columns + c, left), load_some(past, left), sum);
        store_some(past, j + 2 < size ? load_some(past + columns, left) : now, left);
      }
      sum = fma(load_some(weight + (size - 1) * columns + c, left), now, sum);
      store_some(x + c, div(sum, add(splat(1.0f), exp(sub(zero(), sum)))), left);
    }
}

// x * factor / sqrt(sum(x^2) + eps). out may be x.
void unit_length(const float* x, int64_t columns, float eps, float factor, float* out) {
  Floats sum = zero();
  for (int64_t i = 0; i < columns; i += 16) {
    const Floats a = load_some(x + i, columns - i);
    sum = fma(a, a, sum);
  }
  const Floats scale = splat(factor / __builtin_sqrtf(sum_16(sum) + eps));
  for (int64_t i = 0; i < columns; i += 16)
    store_some(out + i, mul(load_some(x + i, columns - i), scale), columns - i);
}

void delta_gates(const float* a, const float* b, const float* rate, const float* bias,
                 int64_t heads, float* decay, float* beta) {
  sigmoid(b, heads, beta);
  for (int64_t i = 0; i < heads; i += 16) {
    const int64_t left = heads - i;
    const Floats step = softplus(add(load_some(a + i, left), load_some(bias + i, left)));
    store_some(decay + i, exp(mul(load_some(rate + i, left), step)), left);
  }
}

// S <- decay S; S <- S + k (beta (v - S'k))'; out = S'q: N * 16 columns of the state, which do not
// depend on one another.
template <int N>
WAZN_INLINE void delta_columns(const DeltaTask& t, int64_t first) {
  float* state = t.state + first;
  for (int64_t row = 0; row < t.num_rows; ++row) {
    const float *key = t.key + row * t.key_stride, *query = t.query + row * t.key_stride;
    const Floats decay = splat(t.decay[row * t.gate_stride]);
    const Floats beta = splat(t.beta[row * t.gate_stride]);
    Floats known[N], change[N], read[N];
    for (int i = 0; i < N; ++i) known[i] = read[i] = zero();
    for (int64_t k = 0; k < t.key_dim; ++k)
      for (int i = 0; i < N; ++i) {
        float* at = state + k * t.value_dim + 16 * i;
        const Floats kept = mul(load(at), decay);
        known[i] = fma(splat(key[k]), kept, known[i]);
        store(at, kept);
      }
    for (int i = 0; i < N; ++i)
      change[i] = mul(beta, sub(load(t.value + row * t.value_stride + first + 16 * i), known[i]));
    for (int64_t k = 0; k < t.key_dim; ++k)
      for (int i = 0; i < N; ++i) {
        float* at = state + k * t.value_dim + 16 * i;
        const Floats next = fma(splat(key[k]), change[i], load(at));
        read[i] = fma(splat(query[k]), next, read[i]);
        store(at, next);
      }
    for (int i = 0; i < N; ++i) store(t.out + row * t.value_stride + first + 16 * i, read[i]);
  }
}

void delta_rule(const DeltaTask& t) {
  int64_t first = 0;
  for (; first + 64 <= t.value_dim; first += 64) delta_columns<4>(t, first);
  for (; first < t.value_dim; first += 16) delta_columns<1>(t, first);
}

}  // namespace
