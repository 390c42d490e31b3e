// Attention of many query heads to one list of cached rows (multi-head latent attention, absorbed:
// DeepSeek-AI 2024). A cached row is kept as it is read, position by position: `latent` numbers
// that are key and value at once, then `rotary` numbers that are key only, padded to a multiple of
// 16, then, for int8, its scale.
//
// A query row sees a prefix of a list of rows: all positions, or those chosen for it. The list is
// cut into blocks of 64 places, counted from 0, each reduced from scratch and merged left to right
// within chunks of 512, and chunks left to right, as in attention.h.
#pragma once

#include "attention.h"
#include "layer_kernels.h"
#include "rows.h"

namespace {

using wazn::IndexTask;
using wazn::kChunkPages;
using wazn::kLatentRows;
using wazn::LatentAttention;
using wazn::LatentShape;

template <class E>
WAZN_INLINE float* scale_of(uint8_t* row, const LatentShape& shape) {
  return (float*)(row + wazn::latent_width(shape) * E::kBytes);
}

void append_latent(const float* latent, const float* rotary, const LatentShape& shape,
                   uint8_t* row) {
  with_kv_format(shape.format, [&]<class E>() {
    const int64_t width = wazn::latent_width(shape);
    float inverse = 0.0f, scale = 0.0f;
    if constexpr (E::kHasScales) {
      float top = 0.0f;
      for (int64_t i = 0; i < shape.latent; ++i)
        top = __builtin_fabsf(latent[i]) > top ? __builtin_fabsf(latent[i]) : top;
      for (int64_t i = 0; i < shape.rotary; ++i)
        top = __builtin_fabsf(rotary[i]) > top ? __builtin_fabsf(rotary[i]) : top;
      if (top >= 1e-30f) {
        scale = top / 127.0f;
        inverse = 127.0f / top;
      }
      *scale_of<E>(row, shape) = scale;
    }
    for (int64_t i = 0; i < shape.latent; ++i) E::write(row, i, latent[i], inverse);
    for (int64_t i = 0; i < shape.rotary; ++i) E::write(row, shape.latent + i, rotary[i], inverse);
    for (int64_t i = shape.latent + shape.rotary; i < width; ++i) E::write(row, i, 0.0f, 0.0f);
  });
}

// Scratch of one task, all of it [rows][width or latent] unless said otherwise.
struct LatentScratch {
  float *queries, *result, *chunk, *values;
  float* scores;                 // [rows][64]
  float *straight, *transposed;  // a block's cached rows as [64][width] and as [width][64]
  RowState *state, *chunk_state, *found;

  LatentScratch(uint8_t* scratch, const LatentShape& shape) {
    const int64_t width = wazn::latent_width(shape);
    queries = (float*)scratch;
    result = queries + kLatentRows * width;
    chunk = result + kLatentRows * shape.latent;
    values = chunk + kLatentRows * shape.latent;
    scores = values + kLatentRows * shape.latent;
    straight = scores + kLatentRows * kPage;
    transposed = straight + kPage * width;
    state = (RowState*)(transposed + kPage * width);
    chunk_state = state + kLatentRows;
    found = chunk_state + kLatentRows;
  }
};

// `count` cached rows as floats, both ways round; places without a row are zero in `transposed`.
template <class E>
WAZN_INLINE void expand_rows(const uint8_t* const* rows, int64_t count, const LatentShape& shape,
                             float* straight, float* transposed) {
  const int64_t width = wazn::latent_width(shape);
  for (int64_t i = 0; i < kPage; ++i) {
    float* out = straight + i * width;
    for (int64_t d = 0; d < width; d += 16) {
      Floats v = i < count ? E::read(rows[i], d) : zero();
      if constexpr (E::kHasScales)
        if (i < count) v = mul(v, splat(*scale_of<E>((uint8_t*)rows[i], shape)));
      store(out + d, v);
    }
  }
  for (int64_t d = 0; d < width; d += 16)
    for (int64_t i = 0; i < kPage; ++i)
      for (int64_t k = d; k < d + 16; ++k) transposed[k * kPage + i] = straight[i * width + k];
}

// One block of the list for the rows that see some of it, merged into the chunk.
template <class E>
WAZN_INLINE void attend_rows(const LatentAttention& t, int64_t block, bool is_first,
                             const LatentScratch& s) {
  const int64_t rows = t.num_rows * t.heads, width = wazn::latent_width(t.shape);
  const int64_t latent = t.shape.latent, start = block * kPage;
  const int64_t hidden = start + 1 - t.first_count;  // earlier rows see nothing of this block
  const int64_t skip = hidden > 0 ? hidden * t.heads : 0;
  const int64_t used = smaller(kPage, t.first_count + t.num_rows - 1 - start);
  expand_rows<E>(t.rows + start, used, t.shape, s.straight, s.transposed);
  matrix_product<CachedFloat32>(s.queries + skip * width, width, rows - skip,
                                {(const uint8_t*)s.transposed, kPage}, kPage,
                                latent + t.shape.rotary, s.scores + skip * kPage, kPage, nullptr);
  const Page<KvFloat32> no_scales(nullptr, 0);
  for (int64_t r = skip; r < rows; ++r) {
    const int64_t valid = smaller(kPage, t.first_count + r / t.heads - start);
    s.found[r] = softmax_block(s.scores + r * kPage, {0, valid}, t.scale, no_scales);
  }
  matrix_product<CachedFloat32>(s.scores + skip * kPage, kPage, rows - skip,
                                {(const uint8_t*)s.straight, width}, latent, used,
                                s.values + skip * latent, latent, nullptr);
  for (int64_t r = skip; r < rows; ++r)
    merge(s.chunk_state[r], s.chunk + r * latent, s.found[r], s.values + r * latent, latent,
          is_first);
}

template <class E>
void attend_list(const LatentAttention& t, uint8_t* scratch) {
  const int64_t rows = t.num_rows * t.heads, width = wazn::latent_width(t.shape);
  const int64_t latent = t.shape.latent;
  const LatentScratch s(scratch, t.shape);
  for (int64_t r = 0; r < rows; ++r) {  // row r: place r / heads, head r % heads
    const int64_t place = r / t.heads, head = r % t.heads;
    const float* first = t.queries + place * t.query_stride + head * latent;
    const float* second = t.rotary + place * t.rotary_stride + head * t.shape.rotary;
    float* query = s.queries + r * width;
    for (int64_t d = 0; d < latent; d += 16) store(query + d, load(first + d));
    for (int64_t d = 0; d < t.shape.rotary; ++d) query[latent + d] = second[d];
  }
  const int64_t num_blocks = (t.first_count + t.num_rows - 1 + kPage - 1) / kPage;
  for (int64_t start = 0; start < num_blocks; start += kChunkPages) {
    const int64_t stop = smaller(start + kChunkPages, num_blocks);
    for (int64_t block = start; block < stop; ++block) attend_rows<E>(t, block, block == start, s);
    const int64_t hidden = start * kPage + 1 - t.first_count;
    for (int64_t r = hidden > 0 ? hidden * t.heads : 0; r < rows; ++r)
      merge(s.state[r], s.result + r * latent, s.chunk_state[r], s.chunk + r * latent, latent,
            start == 0);
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (t.sinks) {  // a share of the softmax that brings no values
      for (int64_t d = 0; d < latent; d += 16) store(s.values + d, zero());
      merge(s.state[r], s.result + r * latent, {t.sinks[r % t.heads], 1.0f}, s.values, latent,
            false);
    }
    float* target = t.out + r / t.heads * t.query_stride + r % t.heads * latent;
    for (int64_t d = 0; d < latent; d += 16)
      store(target + d, div(load(s.result + r * latent + d), splat(s.state[r].total)));
  }
}

void attend_latent(const LatentAttention& task, uint8_t* scratch) {
  with_kv_format(task.shape.format, [&]<class E>() { attend_list<E>(task, scratch); });
}

// Scratch: a block's rows as [64][width] and [width][64], products [heads][64].
template <class E>
void score_list(const IndexTask& t, uint8_t* scratch) {
  const int64_t width = wazn::latent_width(t.shape), dim = t.shape.latent;
  float *straight = (float*)scratch, *transposed = straight + kPage * width;
  float* products = transposed + kPage * width;
  for (int64_t start = 0; start < t.count; start += kPage) {
    expand_rows<E>(t.rows + start, smaller(kPage, t.count - start), t.shape, straight, transposed);
    matrix_product<CachedFloat32>(t.queries, dim, t.heads, {(const uint8_t*)transposed, kPage},
                                  kPage, dim, products, kPage, nullptr);
    for (int64_t i = 0; i < kPage; i += 16) {
      Floats total = zero();
      for (int64_t h = 0; h < t.heads; ++h) {
        const Floats score = mul(load(products + h * kPage + i), splat(t.scale));
        total = fma(splat(t.weights[h]), max(score, zero()), total);
      }
      store(t.scores + start + i, total);
    }
  }
}

void index_scores(const IndexTask& task, uint8_t* scratch) {
  with_kv_format(task.shape.format, [&]<class E>() { score_list<E>(task, scratch); });
}

void layer_norm(const float* x, const float* weight, const float* bias, int64_t columns, float eps,
                float* out) {
  Floats sum = zero(), squares = zero();
  for (int64_t i = 0; i < columns; i += 16) sum = add(sum, load_some(x + i, columns - i));
  const float mean = sum_16(sum) / (float)columns;
  for (int64_t i = 0; i < columns; i += 16) {
    const Floats away = sub(load_some(x + i, columns - i, mean), splat(mean));
    squares = fma(away, away, squares);
  }
  const float variance = sum_16(squares) / (float)columns;
  const Floats scale = splat(1.0f / __builtin_sqrtf(variance + eps));
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t left = columns - i;
    const Floats v = mul(sub(load_some(x + i, left), splat(mean)), scale);
    store_some(out + i, fma(v, load_some(weight + i, left), load_some(bias + i, left)), left);
  }
}

}  // namespace
