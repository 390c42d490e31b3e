// Attention over paged keys and values. Blocks of 64 positions, counted from 0, are each reduced
// from scratch and merged left to right, in prefill and decode alike, so a row's result depends on
// its position only (online softmax after Milakov and Gimelshein 2018, Dao 2022).
//
// A page of one KV head holds keys as [head_dim][64 positions] and values as [64][head_dim]:
// scores have positions as lanes, outputs have dimensions as lanes, nothing is summed across lanes
// except the 64 probabilities.
#pragma once

#include "linear.h"

namespace {

using wazn::Attention;
using wazn::kAttentionRows;
using wazn::kPage;

// Values beyond float16 saturate: an infinity would reach rows that give it no weight (0 * inf).
WAZN_INLINE uint16_t saturated_f16(float x) {
  return f16_of(x > 65504.0f ? 65504.0f : (x < -65504.0f ? -65504.0f : x));
}

void append_kv(const float* key, const float* value, int64_t head_dim, int64_t slot, bool half,
               uint8_t* page) {
  if (half) {
    uint16_t* keys = (uint16_t*)page;
    uint16_t* values = keys + head_dim * kPage + slot * head_dim;
    for (int64_t d = 0; d < head_dim; ++d) keys[d * kPage + slot] = saturated_f16(key[d]);
    for (int64_t d = 0; d < head_dim; ++d) values[d] = saturated_f16(value[d]);
  } else {
    float* keys = (float*)page;
    float* values = keys + head_dim * kPage + slot * head_dim;
    for (int64_t d = 0; d < head_dim; ++d) keys[d * kPage + slot] = key[d];
    for (int64_t d = 0; d < head_dim; ++d) values[d] = value[d];
  }
}

// out[r][n .. n + 16) = sum over k of a[r][k] * b[k][n .. n + 16), k ascending.
template <int R>
WAZN_INLINE void outer_tile(const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                            int64_t depth, float* out, int64_t out_stride) {
  Floats sum[R];
  for (int r = 0; r < R; ++r) sum[r] = zero();
  for (int64_t k = 0; k < depth; ++k) {
    const Floats right = load(b + k * b_stride);
    for (int r = 0; r < R; ++r) sum[r] = fma(splat(a[r * a_stride + k]), right, sum[r]);
  }
  for (int r = 0; r < R; ++r) store(out + r * out_stride, sum[r]);
}

// out (rows, columns) = a (rows, depth) b (depth, columns); columns is a multiple of 16.
void matrix_product(const float* a, int64_t a_stride, int64_t rows, const float* b,
                    int64_t b_stride, int64_t columns, int64_t depth, float* out,
                    int64_t out_stride) {
  for (int64_t r = 0; r < rows; r += kFloatTile)
    for (int64_t n = 0; n < columns; n += 16)
      with_count<kFloatTile>(smaller(kFloatTile, rows - r), [&]<int R>() {
        outer_tile<R>(a + r * a_stride, a_stride, b + n, b_stride, depth, out + r * out_stride + n,
                      out_stride);
      });
}

// Scores (64) of one row -> probabilities relative to the block's maximum; `valid` positions count.
WAZN_INLINE void softmax_block(float* scores, int64_t valid, float scale, float& top,
                               float& total) {
  Floats largest = splat(-__builtin_inff());
  const Floats factor = splat(scale);
  for (int64_t i = 0; i < kPage; i += 16) {
    const Floats s = mul(load(scores + i), factor);
    store(scores + i, s);
    if (i + 16 <= valid) largest = max(largest, s);
  }
  top = max_16(largest);
  for (int64_t i = valid & ~15; i < valid; ++i) top = scores[i] > top ? scores[i] : top;
  Floats sum = zero();
  for (int64_t i = 0; i < kPage; i += 16) {
    const Floats p = keep_first(exp(sub(load(scores + i), splat(top))), valid - i);
    store(scores + i, p);
    sum = add(sum, p);
  }
  total = sum_16(sum);
}

// Brings a page's keys (or values) into float32.
WAZN_INLINE const float* as_floats(const uint8_t* page, int64_t offset, int64_t count, bool half,
                                   float* scratch) {
  if (!half) return (const float*)page + offset;
  const uint16_t* source = (const uint16_t*)page + offset;
  for (int64_t i = 0; i < count; i += 16) store(scratch + i, load_f16(source + i));
  return scratch;
}

struct RowState {
  float top, total;
};

// Folds one block's (top, total, values) into the running state of a row.
WAZN_INLINE void merge(RowState& state, float* out, float top, float total, const float* values,
                       int64_t head_dim, bool first) {
  if (first) {
    state = {top, total};
    for (int64_t d = 0; d < head_dim; d += 16) store(out + d, load(values + d));
    return;
  }
  const float highest = state.top > top ? state.top : top;
  float factors[16] = {state.top - highest, top - highest};
  store(factors, exp(load(factors)));
  const Floats old_factor = splat(factors[0]), new_factor = splat(factors[1]);
  state = {highest, __builtin_fmaf(total, factors[1], state.total * factors[0])};
  for (int64_t d = 0; d < head_dim; d += 16)
    store(out + d, fma(load(values + d), new_factor, mul(load(out + d), old_factor)));
}

// scratch: queries [rows][head_dim], results [rows][head_dim], block values [rows][head_dim],
// scores [rows][64], one page of keys or values [64 * head_dim], states [rows].
void attend(const Attention& t, uint8_t* scratch) {
  const int64_t rows = t.num_rows * t.group, dim = t.head_dim;
  float* queries = (float*)scratch;
  float* result = queries + kAttentionRows * dim;
  float* values = result + kAttentionRows * dim;
  float* scores = values + kAttentionRows * dim;
  float* expanded = scores + kAttentionRows * kPage;
  RowState* state = (RowState*)(expanded + kPage * dim);
  for (int64_t r = 0; r < rows; ++r) {  // row r: position r / group, head r % group
    const float* source = t.queries + r / t.group * t.stride + r % t.group * dim;
    for (int64_t d = 0; d < dim; ++d) queries[r * dim + d] = source[d];
  }
  const int64_t last = t.first_position + t.num_rows;  // exclusive
  for (int64_t block = 0; block * kPage < last; ++block) {
    const uint8_t* page = t.pages[block];
    const int64_t used = smaller(kPage, last - block * kPage);
    // Rows before this block do not see it.
    const int64_t hidden = block * kPage - t.first_position;
    const int64_t skip = hidden > 0 ? hidden * t.group : 0;
    const float* keys = as_floats(page, 0, kPage * dim, t.half, expanded);
    matrix_product(queries + skip * dim, dim, rows - skip, keys, kPage, kPage, dim,
                   scores + skip * kPage, kPage);
    float top[kAttentionRows], total[kAttentionRows];
    for (int64_t r = skip; r < rows; ++r) {
      const int64_t valid = smaller(kPage, t.first_position + r / t.group + 1 - block * kPage);
      softmax_block(scores + r * kPage, valid, t.scale, top[r], total[r]);
    }
    const float* rows_of_values = as_floats(page, kPage * dim, used * dim, t.half, expanded);
    matrix_product(scores + skip * kPage, kPage, rows - skip, rows_of_values, dim, dim, used,
                   values + skip * dim, dim);
    for (int64_t r = skip; r < rows; ++r)
      merge(state[r], result + r * dim, top[r], total[r], values + r * dim, dim, block == 0);
  }
  for (int64_t r = 0; r < rows; ++r) {
    float* target = t.out + r / t.group * t.stride + r % t.group * dim;
    for (int64_t d = 0; d < dim; d += 16)
      store(target + d, div(load(result + r * dim + d), splat(state[r].total)));
  }
}

}  // namespace
