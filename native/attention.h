// Attention over paged keys and values. Blocks of 64 positions, counted from 0, are each reduced
// from scratch and merged left to right within chunks of 512, and chunks are merged left to right:
// in prefill and decode alike, so that a row's result depends on its position only, and chunks may
// be computed by different threads (online softmax after Milakov and Gimelshein 2018, Dao 2022).
//
// A page of one KV head holds keys as [head_dim][64 positions], values as [64][head_dim], and for
// int8 the scales of 64 keys and of 64 values: scores have positions as lanes, outputs have
// dimensions as lanes, nothing is summed across lanes except the 64 probabilities. Scales of keys
// multiply scores, scales of values multiply probabilities.
#pragma once

#include "linear.h"

namespace {

using wazn::Attention;
using wazn::kAttentionRows;
using wazn::kPage;
using wazn::KvFormat;

struct KvFloat32 {
  static constexpr int64_t kBytes = 4;
  static constexpr bool kHasScales = false;
  static WAZN_INLINE Floats read(const uint8_t* p, int64_t i) { return load((const float*)p + i); }
  static WAZN_INLINE void write(uint8_t* p, int64_t i, float x, float) { ((float*)p)[i] = x; }
};
struct KvFloat16 {
  static constexpr int64_t kBytes = 2;
  static constexpr bool kHasScales = false;
  static WAZN_INLINE Floats read(const uint8_t* p, int64_t i) {
    return load_f16((const uint16_t*)p + i);
  }
  // Values beyond float16 saturate: an infinity would reach rows that give it no weight (0 * inf).
  static WAZN_INLINE void write(uint8_t* p, int64_t i, float x, float) {
    ((uint16_t*)p)[i] = f16_of(x > 65504.0f ? 65504.0f : (x < -65504.0f ? -65504.0f : x));
  }
};
struct KvInt8 {
  static constexpr int64_t kBytes = 1;
  static constexpr bool kHasScales = true;
  static WAZN_INLINE Floats read(const uint8_t* p, int64_t i) {
    return load_signed((const int8_t*)p + i);
  }
  static WAZN_INLINE void write(uint8_t* p, int64_t i, float x, float inverse) {
    ((int8_t*)p)[i] = (int8_t)__builtin_rintf(x * inverse);
  }
};

// One KV head's part of a page.
template <class E>
struct Page {
  uint8_t *keys, *values;
  float *key_scales, *value_scales;

  Page(uint8_t* page, int64_t head_dim) {
    keys = page;
    values = keys + head_dim * kPage * E::kBytes;
    key_scales = (float*)(values + head_dim * kPage * E::kBytes);
    value_scales = key_scales + kPage;
  }
};

WAZN_INLINE float largest_magnitude(const float* x, int64_t count) {
  Floats largest = zero();
  for (int64_t i = 0; i < count; i += 16) largest = max(abs(load(x + i)), largest);
  return max_16(largest);
}

// int8: scale = max|x| / 127, over the head; a head that is almost zero is zero.
template <class E>
WAZN_INLINE float write_head(const float* x, int64_t head_dim, uint8_t* out, int64_t first,
                             int64_t stride) {
  float inverse = 0.0f, scale = 0.0f;
  if constexpr (E::kHasScales) {
    const float top = largest_magnitude(x, head_dim);
    if (top >= 1e-30f) {
      scale = top / 127.0f;
      inverse = 127.0f / top;
    }
  }
  for (int64_t d = 0; d < head_dim; ++d) E::write(out, first + d * stride, x[d], inverse);
  return scale;
}

template <class F>
WAZN_INLINE void with_kv_format(KvFormat format, F&& f) {
  switch (format) {
    case KvFormat::kFloat32:
      return f.template operator()<KvFloat32>();
    case KvFormat::kFloat16:
      return f.template operator()<KvFloat16>();
    case KvFormat::kInt8:
      return f.template operator()<KvInt8>();
  }
}

void append_kv(const float* key, const float* value, int64_t head_dim, int64_t slot,
               KvFormat format, uint8_t* page) {
  with_kv_format(format, [&]<class E>() {
    const Page<E> p(page, head_dim);
    const float key_scale = write_head<E>(key, head_dim, p.keys, slot, kPage);
    const float value_scale = write_head<E>(value, head_dim, p.values, slot * head_dim, 1);
    if constexpr (E::kHasScales) {
      p.key_scales[slot] = key_scale;
      p.value_scales[slot] = value_scale;
    }
  });
}

// A product's right side: `depth` rows of stored elements, `stride` apart.
struct Right {
  const uint8_t* data;
  int64_t stride;
};

// out[r][n .. n + 16 N) = sum over k of a[r][k] * b[k][n ..), k ascending.
template <class E, int R, int N>
WAZN_INLINE void outer_tile(const float* a, int64_t a_stride, Right b, int64_t n, int64_t depth,
                            float* out, int64_t out_stride) {
  Floats sum[R][N];
  for (int r = 0; r < R; ++r)
    for (int i = 0; i < N; ++i) sum[r][i] = zero();
  for (int64_t k = 0; k < depth; ++k) {
    Floats right[N];
    for (int i = 0; i < N; ++i) right[i] = E::read(b.data, k * b.stride + n + 16 * i);
    for (int r = 0; r < R; ++r) {
      const Floats left = splat(a[r * a_stride + k]);
      for (int i = 0; i < N; ++i) sum[r][i] = fma(left, right[i], sum[r][i]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int i = 0; i < N; ++i) store(out + r * out_stride + n + 16 * i, sum[r][i]);
}

// out (R, columns) = a (R, depth) b (depth, columns); columns is a multiple of 16. Few rows take
// several columns at once, so that no chain of additions is waited for.
template <class E, int R>
WAZN_INLINE void row_tile(const float* a, int64_t a_stride, Right b, int64_t columns, int64_t depth,
                          float* out, int64_t out_stride) {
  constexpr int wide = 4 * R <= kFloatTile ? 4 : (2 * R <= kFloatTile ? 2 : 1);
  int64_t n = 0;
  for (; n + 16 * wide <= columns; n += 16 * wide)
    outer_tile<E, R, wide>(a, a_stride, b, n, depth, out, out_stride);
  if constexpr (wide > 1)
    for (; n < columns; n += 16) outer_tile<E, R, 1>(a, a_stride, b, n, depth, out, out_stride);
}

// The same for any number of rows: many take the elements as floats, converted once.
template <class E>
WAZN_INLINE void matrix_product(const float* a, int64_t a_stride, int64_t rows, Right b,
                                int64_t columns, int64_t depth, float* out, int64_t out_stride,
                                float* expanded) {
  if (rows <= kFloatTile)
    return with_count<kFloatTile>(
        rows, [&]<int R>() { row_tile<E, R>(a, a_stride, b, columns, depth, out, out_stride); });
  if constexpr (!__is_same(E, KvFloat32)) {
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t n = 0; n < columns; n += 16)
        store(expanded + k * columns + n, E::read(b.data, k * b.stride + n));
    b = {(const uint8_t*)expanded, columns};
  }
  const int64_t tiles = (rows + kFloatTile - 1) / kFloatTile;
  for (int64_t t = 0, r = 0; t < tiles; ++t) {
    const int64_t next = (t + 1) * rows / tiles;
    with_count<kFloatTile>(next - r, [&]<int R>() {
      row_tile<KvFloat32, R>(a + r * a_stride, a_stride, b, columns, depth, out + r * out_stride,
                             out_stride);
    });
    r = next;
  }
}

// The running softmax of a row: its largest score, and the sum of exp(score - top).
struct RowState {
  float top, total;
};

// Scores (64) of one row -> probabilities relative to the block's maximum, of `valid` positions.
// Scales of keys multiply the scores, those of values the probabilities after they are summed.
template <class E>
WAZN_INLINE RowState softmax_block(float* scores, int64_t valid, float scale, const Page<E>& page) {
  Floats largest = splat(-__builtin_inff());
  for (int64_t i = 0; i < kPage; i += 16) {
    Floats s = mul(load(scores + i), splat(scale));
    if constexpr (E::kHasScales) s = mul(s, load(page.key_scales + i));
    store(scores + i, s);
    if (i + 16 <= valid) largest = max(largest, s);
  }
  float top = max_16(largest);
  for (int64_t i = valid & ~15; i < valid; ++i) top = scores[i] > top ? scores[i] : top;
  Floats sum = zero();
  for (int64_t i = 0; i < kPage; i += 16) {
    Floats p = keep_first(exp(sub(load(scores + i), splat(top))), valid - i);
    sum = add(sum, p);
    if constexpr (E::kHasScales) p = mul(p, load(page.value_scales + i));
    store(scores + i, p);
  }
  return {top, sum_16(sum)};
}

// Folds what was computed from later positions into a row's state and values.
WAZN_INLINE void merge(RowState& state, float* out, RowState later, const float* values,
                       int64_t head_dim, bool is_first) {
  if (is_first) {
    state = later;
    for (int64_t d = 0; d < head_dim; d += 16) store(out + d, load(values + d));
    return;
  }
  const float highest = state.top > later.top ? state.top : later.top;
  float factors[16] = {state.top - highest, later.top - highest};
  store(factors, exp(load(factors)));
  const Floats old_factor = splat(factors[0]), new_factor = splat(factors[1]);
  state = {highest, __builtin_fmaf(later.total, factors[1], state.total * factors[0])};
  for (int64_t d = 0; d < head_dim; d += 16)
    store(out + d, fma(load(values + d), new_factor, mul(load(out + d), old_factor)));
}

// Scratch of one task, all of it [rows][head_dim] unless said otherwise.
struct AttentionScratch {
  float *queries, *result, *chunk, *values;
  float* scores;    // [rows][64]
  float* expanded;  // a page's keys or values
  RowState *state, *chunk_state;

  AttentionScratch(uint8_t* scratch, int64_t head_dim) {
    const int64_t rows = kAttentionRows * head_dim;
    queries = (float*)scratch;
    result = queries + rows;
    chunk = result + rows;
    values = chunk + rows;
    scores = values + rows;
    expanded = scores + kAttentionRows * kPage;
    state = (RowState*)(expanded + kPage * head_dim);
    chunk_state = state + kAttentionRows;
  }
};

// The rows from `skip` on over one block, merged into the chunk.
template <class E>
WAZN_INLINE void attend_block(const Attention& t, int64_t block, bool is_first,
                              const AttentionScratch& s) {
  const int64_t rows = t.num_rows * t.group, dim = t.head_dim, start = block * kPage;
  const int64_t hidden = start - t.first_position;  // earlier rows do not see this block
  const int64_t skip = hidden > 0 ? hidden * t.group : 0;
  const int64_t used = smaller(kPage, t.first_position + t.num_rows - start);
  const Page<E> page((uint8_t*)t.pages[block], dim);
  matrix_product<E>(s.queries + skip * dim, dim, rows - skip, {page.keys, kPage}, kPage, dim,
                    s.scores + skip * kPage, kPage, s.expanded);
  RowState found[kAttentionRows];
  for (int64_t r = skip; r < rows; ++r) {
    const int64_t valid = smaller(kPage, t.first_position + r / t.group + 1 - start);
    found[r] = softmax_block(s.scores + r * kPage, valid, t.scale, page);
  }
  matrix_product<E>(s.scores + skip * kPage, kPage, rows - skip, {page.values, dim}, dim, used,
                    s.values + skip * dim, dim, s.expanded);
  for (int64_t r = skip; r < rows; ++r)
    merge(s.chunk_state[r], s.chunk + r * dim, found[r], s.values + r * dim, dim, is_first);
}

template <class E>
void attend_pages(const Attention& t, uint8_t* scratch) {
  const int64_t rows = t.num_rows * t.group, dim = t.head_dim;
  const AttentionScratch s(scratch, dim);
  for (int64_t r = 0; r < rows; ++r) {  // row r: position r / group, head r % group
    const float* source = t.queries + r / t.group * t.stride + r % t.group * dim;
    for (int64_t d = 0; d < dim; d += 16) store(s.queries + r * dim + d, load(source + d));
  }
  const int64_t num_blocks = (t.first_position + t.num_rows + kPage - 1) / kPage;
  for (int64_t p = t.first_part; p < t.last_part; ++p) {
    const int64_t first = p * t.part_pages, last = smaller(first + t.part_pages, num_blocks);
    for (int64_t block = first; block < last; ++block) attend_block<E>(t, block, block == first, s);
    const int64_t hidden = first * kPage - t.first_position;
    for (int64_t r = hidden > 0 ? hidden * t.group : 0; r < rows; ++r) {
      if (t.partials) {
        float* part = t.partials + (p - t.first_part) * t.partial_stride + r * (dim + 16);
        for (int64_t d = 0; d < dim; d += 16) store(part + d, load(s.chunk + r * dim + d));
        part[dim] = s.chunk_state[r].top;
        part[dim + 1] = s.chunk_state[r].total;
      } else {
        merge(s.state[r], s.result + r * dim, s.chunk_state[r], s.chunk + r * dim, dim, p == 0);
      }
    }
  }
  if (t.partials) return;
  for (int64_t r = 0; r < rows; ++r) {
    float* target = t.out + r / t.group * t.stride + r % t.group * dim;
    for (int64_t d = 0; d < dim; d += 16)
      store(target + d, div(load(s.result + r * dim + d), splat(s.state[r].total)));
  }
}

void attend(const Attention& t, uint8_t* scratch) {
  with_kv_format(t.format, [&]<class E>() { attend_pages<E>(t, scratch); });
}

// Merges the parts of one row and head, `stride` floats apart, into out (head_dim).
void merge_parts(const float* partials, int64_t num_parts, int64_t stride, int64_t head_dim,
                 float* out) {
  RowState state = {0.0f, 0.0f};
  for (int64_t i = 0; i < num_parts; ++i) {
    const float* part = partials + i * stride;
    merge(state, out, {part[head_dim], part[head_dim + 1]}, part, head_dim, i == 0);
  }
  for (int64_t d = 0; d < head_dim; d += 16) store(out + d, div(load(out + d), splat(state.total)));
}

}  // namespace
