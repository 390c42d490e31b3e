// Attention over paged keys and values. Blocks of 64 positions, counted from 0, are each reduced
// from scratch and merged left to right within chunks of 512, and chunks are merged left to right:
// in prefill and decode alike, so that a row's result depends on its position only, and chunks may
// be computed by different threads (online softmax after Milakov and Gimelshein 2018, Dao 2022).
//
// A page of one KV head holds keys as [head_dim][64 positions], values as [64][head_dim], and for
// int8 the scales of 64 keys and of 64 values: scores have positions as lanes, outputs have
// dimensions as lanes, nothing is summed across lanes except the 64 probabilities. Scales of keys
// multiply scores, scales of values multiply probabilities.
//
// A row that does not see all positions before its own (Reach) begins with the first block of which
// it sees something: blocks, chunks and the order of merging stay the same, and what no row of a
// task sees is not read. A sink (Xiao 2023, OpenAI 2025) is merged last, as a block of one score.
#pragma once

#include "linear.h"

namespace {

using wazn::Attention;
using wazn::AttentionParts;
using wazn::first_seen;
using wazn::kAttentionRows;
using wazn::kPage;
using wazn::KvFormat;

struct KvFloat32 {
  static constexpr int64_t kBytes = 4;
  static constexpr bool kHasScales = false;
  static WAZN_INLINE Floats read(const uint8_t* p, int64_t i) { return load((const float*)p + i); }
  static WAZN_INLINE void write(uint8_t* p, int64_t i, float x, float) { ((float*)p)[i] = x; }
};
struct CachedFloat32 : KvFloat32 {};  // made just before a product, so near already
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

// A product's right side: `depth` rows of elements, `stride` apart. Where they are stored ones,
// those that are read next, as many, are fetched little by little meanwhile: asked for all at once,
// they would be waited for.
struct Right {
  const uint8_t* data;
  int64_t stride;
  const uint8_t* next = nullptr;
};

// out[r][n .. n + 16 N) = sum over k of a[r][k] * b[k][n ..), k ascending.
template <class E, int R, int N>
WAZN_INLINE void outer_tile(const float* a, int64_t a_stride, Right b, int64_t n, int64_t depth,
                            float* out, int64_t out_stride) {
  Floats sum[R][N];
  for (int r = 0; r < R; ++r)
    for (int i = 0; i < N; ++i) sum[r][i] = zero();
  for (int64_t k = 0; k < depth; ++k) {
    if constexpr (!__is_same(E, CachedFloat32))
      fetch(b.next + (n * depth + k * 16 * N) * E::kBytes, 16 * N * E::kBytes);
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
  constexpr int wide = 4 * R <= kFloatTile ? 4 : (2 * R < kFloatTile ? 2 : 1);
  int64_t n = 0;
  for (; n + 16 * wide <= columns; n += 16 * wide)
    outer_tile<E, R, wide>(a, a_stride, b, n, depth, out, out_stride);
  if constexpr (wide > 1)
    for (; n < columns; n += 16) outer_tile<E, R, 1>(a, a_stride, b, n, depth, out, out_stride);
}

// The same for any number of rows, in even tiles.
template <class E>
WAZN_INLINE void tiled_product(const float* a, int64_t a_stride, int64_t rows, Right b,
                               int64_t columns, int64_t depth, float* out, int64_t out_stride) {
  const int64_t tiles = (rows + kFloatTile - 1) / kFloatTile;
  for (int64_t t = 0, r = 0; t < tiles; ++t) {
    const int64_t last = (t + 1) * rows / tiles;
    with_count<kFloatTile>(last - r, [&]<int R>() {
      row_tile<E, R>(a + r * a_stride, a_stride, b, columns, depth, out + r * out_stride,
                     out_stride);
    });
    r = last;
  }
}

// The same; more than two tiles take the elements as floats, converted once.
template <class E>
WAZN_INLINE void matrix_product(const float* a, int64_t a_stride, int64_t rows, Right b,
                                int64_t columns, int64_t depth, float* out, int64_t out_stride,
                                float* expanded) {
  if (rows <= 2 * kFloatTile || E::kBytes == 4)
    return tiled_product<E>(a, a_stride, rows, b, columns, depth, out, out_stride);
  for (int64_t k = 0; k < depth; ++k) {
    fetch(b.next + k * columns * E::kBytes, columns * E::kBytes);
    for (int64_t n = 0; n < columns; n += 16)
      store(expanded + k * columns + n, E::read(b.data, k * b.stride + n));
  }
  tiled_product<CachedFloat32>(a, a_stride, rows, {(const uint8_t*)expanded, columns}, columns,
                               depth, out, out_stride);
}

// The running softmax of a row: its largest score, and the sum of exp(score - top).
struct RowState {
  float top, total;
};

// Which positions of a block a row sees: [first, last).
struct Seen {
  int64_t first, last;
};

// What is made of a row's scores besides: a cap, 0 being none, and then a factor.
struct Shaping {
  float softcap = 0.0f, factor = 1.0f;
  bool is_none() const { return softcap == 0.0f && factor == 1.0f; }
};

// Shapes the scores (64) of a row, and hides what comes before those that it sees. Returns the
// largest of each lane of whole vectors.
__attribute__((noinline)) Floats limit_scores(float* scores, Seen seen, Shaping shaping) {
  const Floats cap = splat(shaping.softcap), factor = splat(shaping.factor);
  for (int64_t i = 0; !shaping.is_none() && i < kPage; i += 16) {
    Floats s = load(scores + i);
    if (shaping.softcap > 0.0f) s = mul(cap, tanh(div(s, cap)));
    store(scores + i, mul(s, factor));
  }
  for (int64_t i = 0; i < seen.first; ++i) scores[i] = -__builtin_inff();
  Floats largest = splat(-__builtin_inff());
  for (int64_t i = 0; i + 16 <= seen.last; i += 16) largest = max(largest, load(scores + i));
  return largest;
}

// Scores (64) of one row -> probabilities relative to the largest score, of the positions seen.
// Scales of keys multiply the scores, those of values the probabilities after they are summed.
template <class E>
WAZN_INLINE RowState softmax_block(float* scores, Seen seen, float scale, const Page<E>& page,
                                   Shaping shaping = {}) {
  const int64_t valid = seen.last;
  Floats largest = splat(-__builtin_inff());
  for (int64_t i = 0; i < kPage; i += 16) {
    Floats s = mul(load(scores + i), splat(scale));
    if constexpr (E::kHasScales) s = mul(s, load(page.key_scales + i));
    store(scores + i, s);
    if (i + 16 <= valid) largest = max(largest, s);
  }
  if (seen.first > 0 || !shaping.is_none()) largest = limit_scores(scores, seen, shaping);
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

// The softmax of a row from what it gathered, with the share of its sink, or null, in the sum.
WAZN_INLINE void finish(RowState state, const float* values, int64_t head_dim, const float* sink,
                        float* out) {
  if (sink) {
    const float highest = state.top > *sink ? state.top : *sink;
    float factors[16] = {state.top - highest, *sink - highest};
    store(factors, exp(load(factors)));
    const float total = __builtin_fmaf(1.0f, factors[1], state.total * factors[0]);
    for (int64_t d = 0; d < head_dim; d += 16)
      store(out + d, div(mul(load(values + d), splat(factors[0])), splat(total)));
    return;
  }
  for (int64_t d = 0; d < head_dim; d += 16)
    store(out + d, div(load(values + d), splat(state.total)));
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

// Query rows [first, last) of a task, each with the heads of its group.
struct Rows {
  int64_t first, last;
};

// Those that see some of the positions [start, stop).
WAZN_INLINE Rows rows_that_see(const Attention& t, int64_t start, int64_t stop) {
  const int64_t hidden = start - t.first_position;  // earlier rows come before these positions
  int64_t last = t.num_rows;
  while (last > 0 && first_seen(t.reach, t.first_position + last - 1) >= stop) --last;
  return {hidden > 0 ? hidden : 0, last};
}

// One block for the rows that see some of it, merged into the chunk that begins with block `first`.
template <class E>
WAZN_INLINE void attend_block(const Attention& t, int64_t block, int64_t first, const uint8_t* next,
                              const AttentionScratch& s) {
  const int64_t dim = t.head_dim, start = block * kPage;
  const Rows rows = rows_that_see(t, start, start + kPage);
  const int64_t skip = rows.first * t.group, count = rows.last * t.group - skip;
  const int64_t used = smaller(kPage, t.first_position + t.num_rows - start);
  const Page<E> page((uint8_t*)t.pages[block], dim);
  if constexpr (E::kHasScales) fetch((uint8_t*)page.key_scales, 2 * kPage * sizeof(float));
  matrix_product<E>(s.queries + skip * dim, dim, count, {page.keys, kPage, page.values}, kPage, dim,
                    s.scores + skip * kPage, kPage, s.expanded);
  RowState found[kAttentionRows];
  for (int64_t i = rows.first, r = skip; i < rows.last; ++i) {
    const int64_t position = t.first_position + i;
    const Seen seen = {first_seen(t.reach, position) - start, smaller(kPage, position + 1 - start)};
    const Shaping shaping = {t.softcap, t.factors ? t.factors[i] : 1.0f};
    for (int64_t h = 0; h < t.group; ++h, ++r)
      found[r] = softmax_block(s.scores + r * kPage, seen, t.scale, page, shaping);
  }
  matrix_product<E>(s.scores + skip * kPage, kPage, count, {page.values, dim, next}, dim, used,
                    s.values + skip * dim, dim, s.expanded);
  for (int64_t i = rows.first, r = skip; i < rows.last; ++i) {
    const bool is_first = block == first || first_seen(t.reach, t.first_position + i) >= start;
    for (int64_t h = 0; h < t.group; ++h, ++r)
      merge(s.chunk_state[r], s.chunk + r * dim, found[r], s.values + r * dim, dim, is_first);
  }
}

// Where the chunk that begins with position `start` goes: to its part, or into the result.
WAZN_INLINE void keep_chunk(const Attention& t, Rows rows, int64_t start, float* part,
                            const AttentionScratch& s) {
  const int64_t dim = t.head_dim;
  for (int64_t r = rows.first * t.group; r < rows.last * t.group; ++r) {
    const float* chunk = s.chunk + r * dim;
    if (t.partials) {
      float* target = part + r * (dim + 16);
      for (int64_t d = 0; d < dim; d += 16) store(target + d, load(chunk + d));
      target[dim] = s.chunk_state[r].top;
      target[dim + 1] = s.chunk_state[r].total;
    } else {
      const bool is_first = first_seen(t.reach, t.first_position + r / t.group) >= start;
      merge(s.state[r], s.result + r * dim, s.chunk_state[r], chunk, dim, is_first);
    }
  }
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
  const int64_t first_block = first_seen(t.reach, t.first_position) / kPage;
  for (int64_t p = t.first_part; p < t.last_part; ++p) {
    const int64_t begin = p * t.part_pages, last = smaller(begin + t.part_pages, num_blocks);
    const int64_t first = begin > first_block ? begin : first_block;
    for (int64_t block = first; block < last; ++block) {
      const bool is_last = block + 1 == last && p + 1 == t.last_part;
      attend_block<E>(t, block, first, is_last ? t.next_page : t.pages[block + 1], s);
    }
    keep_chunk(t, rows_that_see(t, begin * kPage, last * kPage), begin * kPage,
               t.partials ? t.partials + (p - t.first_part) * t.partial_stride : nullptr, s);
  }
  if (t.partials) return;
  for (int64_t r = 0; r < rows; ++r)
    finish(s.state[r], s.result + r * dim, dim, t.sinks ? t.sinks + r % t.group : nullptr,
           t.out + r / t.group * t.stride + r % t.group * dim);
}

void attend(const Attention& t, uint8_t* scratch) {
  with_kv_format(t.format, [&]<class E>() { attend_pages<E>(t, scratch); });
}

// Merges the parts of one row and head into out (head_dim).
void merge_parts(const AttentionParts& parts, float* out) {
  const int64_t dim = parts.head_dim;
  RowState state = {0.0f, 0.0f};
  for (int64_t i = 0; i < parts.count; ++i) {
    const float* part = parts.partials + i * parts.stride;
    merge(state, out, {part[dim], part[dim + 1]}, part, dim, i == 0);
  }
  finish(state, out, dim, parts.sink, out);
}

}  // namespace
