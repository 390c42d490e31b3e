// Matrix products on packed panels. The arithmetic of one output is a fixed sequence over the
// columns, whatever the number of rows: exact integer sums per block, one float step per block.
// So a product alone (GEMV) and one among hundreds (GEMM) agree to the bit.
#pragma once

#include "formats.h"

namespace {

using wazn::Activation;
using wazn::Matrix;
using wazn::Output;

constexpr int kTile = 4;       // activation rows per tile: 8 int16 accumulators, 2 weights, 2 temps
constexpr int kFloatTile = 6;  // 12 float accumulators

// One activation row in the form a format wants.
struct Row {
  const int8_t* codes;
  const float* scales;
  const int32_t* sums;   // per 32 (32-column formats)
  const int16_t* pairs;  // per sub-block (256-column formats)
};

template <class F>
WAZN_INLINE Row row_of(const Activation& x, int64_t m) {
  if constexpr (F::kSpan == 32) {
    const int64_t blocks = x.columns / 32;
    return {x.by_32.codes + m * x.columns, x.by_32.scales + m * blocks, x.by_32.sums + m * blocks,
            nullptr};
  } else {
    const int16_t* pairs = F::kSubs == 8 ? x.by_256.sums_32 + m * (x.columns / 32)
                                         : x.by_256.sums_16 + m * (x.columns / 16);
    return {x.by_256.codes + m * x.columns, x.by_256.scales + m * (x.columns / 256), nullptr,
            pairs};
  }
}

// Where a tile finds its weights: Direct unpacks in registers (few rows, memory-bound), Expanded
// reads codes and scales that were unpacked once for many rows.
template <class F>
struct Direct {
  const uint8_t* panel;

  WAZN_INLINE const uint8_t* block(int64_t i) const { return panel + i * F::kBytes; }
  WAZN_INLINE void group(int64_t b, int j, Bytes (&w)[2]) const {
    constexpr int64_t per_block = F::kSpan / 32;
    F::Codec::group(block(b / per_block) + b % per_block * F::Codec::kBytes, j, w);
  }
  WAZN_INLINE void scales(int64_t i, Floats (&d)[2], Floats (&m)[2]) const {
    F::scales(block(i), d, m);
  }
  WAZN_INLINE void sub_scale(int64_t i, int sub, Halves (&s)[2]) const {
    Halves pair[2];
    F::scale_pair(block(i), sub / 2, pair);
    for (int h = 0; h < 2; ++h) s[h] = sub % 2 ? second_of_pairs(pair[h]) : first_of_pairs(pair[h]);
  }
  WAZN_INLINE void correction(int64_t i, int pair, Halves (&s)[2]) const {
    if constexpr (F::kHasMin)
      F::min_pair(block(i), pair, s);
    else
      F::scale_pair(block(i), pair, s);
  }
};

template <class F>
struct Expanded {
  static constexpr int64_t kSubs = F::kSpan == 32 ? 0 : F::kSpan / 16;  // room for 16 sub-blocks
  uint8_t* codes;                                                       // [columns / 4][16 rows][4]
  float* scale;          // [blocks][2][16 rows]: scale, min
  int16_t* sub;          // [blocks][sub-blocks][16 rows][2]
  int16_t* corrections;  // [blocks][pairs][16 rows][2]

  Expanded(uint8_t* scratch, int64_t columns) {
    codes = scratch;
    scale = (float*)(codes + columns * kPanelRows);
    sub = (int16_t*)(scale + columns / F::kSpan * 2 * kPanelRows);
    corrections = sub + columns / F::kSpan * kSubs * 2 * kPanelRows;
  }
  void fill(const uint8_t* panel, int64_t columns) {
    const Direct<F> source{panel};
    Bytes w[2];
    for (int64_t b = 0; b < columns / 32; ++b)
      for (int j = 0; j < 8; ++j) {
        source.group(b, j, w);
        for (int h = 0; h < 2; ++h) store_bytes(codes + b * 512 + 64 * j + 32 * h, w[h]);
      }
    for (int64_t i = 0; i < columns / F::kSpan; ++i) {
      Floats d[2], m[2];
      source.scales(i, d, m);
      for (int h = 0; h < 2; ++h) {
        store(scale + 32 * i + 8 * h, d[h]);
        store(scale + 32 * i + 16 + 8 * h, m[h]);
      }
      if constexpr (F::kSpan == 256) {
        for (int s = 0; s < F::kSubs; ++s) {
          source.sub_scale(i, s, w);
          for (int h = 0; h < 2; ++h) store_bytes(sub + (i * kSubs + s) * 32 + 16 * h, w[h]);
        }
        for (int s = 0; s < F::kSubs / 2; ++s) {
          source.correction(i, s, w);
          for (int h = 0; h < 2; ++h)
            store_bytes(corrections + (i * kSubs / 2 + s) * 32 + 16 * h, w[h]);
        }
      }
    }
  }
  WAZN_INLINE void group(int64_t b, int j, Bytes (&w)[2]) const {
    for (int h = 0; h < 2; ++h) w[h] = load_bytes(codes + b * 512 + 64 * j + 32 * h);
  }
  WAZN_INLINE void scales(int64_t i, Floats (&d)[2], Floats (&m)[2]) const {
    for (int h = 0; h < 2; ++h) {
      d[h] = load(scale + 32 * i + 8 * h);
      m[h] = load(scale + 32 * i + 16 + 8 * h);
    }
  }
  WAZN_INLINE void sub_scale(int64_t i, int s, Halves (&out)[2]) const {
    for (int h = 0; h < 2; ++h) out[h] = load_bytes(sub + (i * kSubs + s) * 32 + 16 * h);
  }
  WAZN_INLINE void correction(int64_t i, int pair, Halves (&out)[2]) const {
    for (int h = 0; h < 2; ++h)
      out[h] = load_bytes(corrections + (i * kSubs / 2 + pair) * 32 + 16 * h);
  }
};

// int16 sums of groups [first, first + count) of block b for Y rows.
template <class F, int Y, class Source>
WAZN_INLINE void sum_groups(const Source& w, int64_t b, int first, int count, const Row (&x)[Y],
                            Halves (&acc)[Y][2]) {
  for (int y = 0; y < Y; ++y) acc[y][0] = acc[y][1] = no_words();
#pragma GCC unroll 8
  for (int k = 0; k < count; ++k) {
    // Whole blocks take the groups that share a byte of nibbles one after the other.
    const int j = count == 8 ? (k / 2 + (k % 2) * 4) : first + k;
    Bytes q[2], u[2];
    w.group(b, j, q);
    if constexpr (F::Codec::kSigned)
      for (int h = 0; h < 2; ++h) u[h] = abs_bytes(q[h]);
    for (int y = 0; y < Y; ++y) {
      const Bytes a = repeat_4(x[y].codes + 32 * b + 4 * j);
      for (int h = 0; h < 2; ++h) {
        if constexpr (F::Codec::kSigned) {
          acc[y][h] = dot_2(u[h], with_sign(a, q[h]));
        } else {
          acc[y][h] = add_halves(acc[y][h], dot_2(q[h], a));
          fence(acc[y][h]);
        }
      }
    }
  }
}

// Y rows against one panel of a 32-column format.
template <class F, int Y, class Source>
WAZN_INLINE void tile_32(const Source& w, int64_t columns, const Row (&x)[Y], Floats (&out)[Y][2]) {
  const Halves ones = _mm256_set1_epi16(1);
  for (int64_t b = 0; b < columns / 32; ++b) {
    Words sum[Y][2];
    for (int first = 0; first < 8; first += F::Codec::kDepth) {
      Halves acc[Y][2];
      sum_groups<F, Y>(w, b, first, F::Codec::kDepth, x, acc);
      for (int y = 0; y < Y; ++y)
        for (int h = 0; h < 2; ++h) {
          const Words part = dot_2_halves(acc[y][h], ones);
          sum[y][h] = first == 0 ? part : add_words(sum[y][h], part);
        }
    }
    Floats d[2], m[2];
    w.scales(b, d, m);
    for (int y = 0; y < Y; ++y) {
      const Floats scale = splat(x[y].scales[b]);
      Words offset;
      if constexpr (F::kOffsetBits >= 0)
        offset = shift_words_left(splat(x[y].sums[b]), F::kOffsetBits);
      Floats row_sum;
      if constexpr (F::kHasMin) row_sum = mul(scale, splat((float)x[y].sums[b]));
      for (int h = 0; h < 2; ++h) {
        Words s = sum[y][h];
        if constexpr (F::kOffsetBits >= 0) s = sub_words(s, offset);
        out[y][h] = fma(d[h], mul(scale, to_floats(s)), out[y][h]);
        if constexpr (F::kHasMin) out[y][h] = fma(m[h], row_sum, out[y][h]);
      }
    }
  }
}

// Y rows against one panel of a 256-column format: sub-scales multiply inside the integer sums.
template <class F, int Y, class Source>
WAZN_INLINE void tile_256(const Source& w, int64_t columns, const Row (&x)[Y],
                          Floats (&out)[Y][2]) {
  constexpr int groups_per_sub = 64 / F::kSubs;
  constexpr int step = F::Codec::kDepth < groups_per_sub ? F::Codec::kDepth : groups_per_sub;
  for (int64_t i = 0; i < columns / 256; ++i) {
    Words sum[Y][2], low[Y][2];
    for (int y = 0; y < Y; ++y) sum[y][0] = sum[y][1] = low[y][0] = low[y][1] = no_words();
    for (int b = 0; b < 8; ++b) {
#pragma GCC unroll 8
      for (int first = 0; first < 8; first += step) {
        Halves acc[Y][2], s[2];
        sum_groups<F, Y>(w, 8 * i + b, first, step, x, acc);
        w.sub_scale(i, (8 * b + first) / groups_per_sub, s);
        for (int y = 0; y < Y; ++y)
          for (int h = 0; h < 2; ++h)
            sum[y][h] = add_words(sum[y][h], dot_2_halves(acc[y][h], s[h]));
      }
    }
    if constexpr (F::kHasMin || F::kOffsetBits >= 0) {
      for (int pair = 0; pair < F::kSubs / 2; ++pair) {
        Halves s[2];
        w.correction(i, pair, s);
        for (int y = 0; y < Y; ++y) {
          const Halves a = repeat_2(x[y].pairs + F::kSubs * i + 2 * pair);
          for (int h = 0; h < 2; ++h) low[y][h] = add_words(low[y][h], dot_2_halves(s[h], a));
        }
      }
    }
    Floats d[2], m[2];
    w.scales(i, d, m);
    for (int y = 0; y < Y; ++y) {
      const Floats scale = splat(x[y].scales[i]);
      for (int h = 0; h < 2; ++h) {
        Words s = sum[y][h];
        if constexpr (F::kOffsetBits >= 0)
          s = sub_words(s, shift_words_left(low[y][h], F::kOffsetBits));
        out[y][h] = fma(d[h], mul(scale, to_floats(s)), out[y][h]);
        if constexpr (F::kHasMin)
          out[y][h] = fnma(m[h], mul(scale, to_floats(low[y][h])), out[y][h]);
      }
    }
  }
}

// Adds bias and what was there, and writes the 16 (or fewer) outputs of one row.
WAZN_INLINE void finish(const Output& out, int64_t row, int64_t column, int64_t count,
                        Floats (&sum)[2]) {
  float* target = out.data + row * out.stride + column;
  if (count >= kPanelRows) {
    for (int h = 0; h < 2; ++h) {
      Floats v = sum[h];
      if (out.bias) v = add(v, load(out.bias + column + 8 * h));
      if (out.accumulate) v = add(load(target + 8 * h), v);
      store(target + 8 * h, v);
    }
    return;
  }
  float values[kPanelRows];
  for (int h = 0; h < 2; ++h) store(values + 8 * h, sum[h]);
  for (int64_t r = 0; r < count; ++r) {
    float v = values[r];
    if (out.bias) v = v + out.bias[column + r];
    target[r] = out.accumulate ? target[r] + v : v;
  }
}

template <class F, int Y, class Source>
WAZN_INLINE void linear_tile(const Source& w, const Activation& x, int64_t m, const Output& out,
                             int64_t column, int64_t count) {
  Row rows[Y];
  Floats sum[Y][2];
  for (int y = 0; y < Y; ++y) {
    rows[y] = row_of<F>(x, m + y);
    sum[y][0] = sum[y][1] = zero();
  }
  if constexpr (F::kSpan == 32)
    tile_32<F, Y>(w, x.columns, rows, sum);
  else
    tile_256<F, Y>(w, x.columns, rows, sum);
  for (int y = 0; y < Y; ++y) finish(out, m + y, column, count, sum[y]);
}

// Rows [m, m + count) in one tile, count <= 4.
template <class F, class Source>
void linear_rows(const Source& w, const Activation& x, int64_t m, int64_t num_rows,
                 const Output& out, int64_t column, int64_t count) {
  switch (num_rows) {
    case 1:
      return linear_tile<F, 1>(w, x, m, out, column, count);
    case 2:
      return linear_tile<F, 2>(w, x, m, out, column, count);
    case 3:
      return linear_tile<F, 3>(w, x, m, out, column, count);
    case 4:
      return linear_tile<F, 4>(w, x, m, out, column, count);
  }
}

WAZN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <class F>
void linear_quantised(const Matrix& w, const Activation& x, int64_t rows, int64_t first,
                      int64_t last, const Output& out, uint8_t* scratch) {
  const int64_t bytes = w.columns / F::kSpan * F::kBytes;
  const int64_t tiles = (rows + kTile - 1) / kTile;
  Expanded<F> expanded(scratch, w.columns);
  for (int64_t p = first; p < last; ++p) {
    const uint8_t* panel = w.data + p * bytes;
    const int64_t column = p * kPanelRows, count = smaller(kPanelRows, w.rows - column);
    if (rows <= kTile) {
      linear_rows<F>(Direct<F>{panel}, x, 0, rows, out, column, count);
      continue;
    }
    expanded.fill(panel, w.columns);
    for (int64_t t = 0, m = 0; t < tiles; ++t) {  // even tiles, never a remainder of one
      const int64_t next = (t + 1) * rows / tiles;
      linear_rows<F>(expanded, x, m, next - m, out, column, count);
      m = next;
    }
  }
}

// Y rows against P adjacent float panels: one fused multiply-add per column, in order.
template <class E, int Y, int P>
WAZN_INLINE void float_tile(const uint8_t* panel, int64_t bytes, const Activation& x, int64_t m,
                            const Output& out, int64_t column, int64_t count) {
  Floats sum[P][Y][2];
  const float* rows[Y];
  for (int y = 0; y < Y; ++y) rows[y] = x.floats + (m + y) * x.columns;
  for (int p = 0; p < P; ++p)
    for (int y = 0; y < Y; ++y) sum[p][y][0] = sum[p][y][1] = zero();
  for (int64_t k = 0; k < x.columns; ++k)
    for (int p = 0; p < P; ++p) {
      const uint8_t* source = panel + p * bytes + k * E::kBytes;
      const Floats w0 = E::read(source, 0), w1 = E::read(source, 1);
      for (int y = 0; y < Y; ++y) {
        const Floats a = splat(rows[y][k]);
        sum[p][y][0] = fma(w0, a, sum[p][y][0]);
        sum[p][y][1] = fma(w1, a, sum[p][y][1]);
      }
    }
  for (int p = 0; p < P; ++p)
    for (int y = 0; y < Y; ++y)
      finish(out, m + y, column + p * kPanelRows, count - p * kPanelRows, sum[p][y]);
}

template <class E>
void float_rows(const uint8_t* panel, const Activation& x, int64_t m, int64_t num_rows,
                const Output& out, int64_t column, int64_t count) {
  switch (num_rows) {
    case 1:
      return float_tile<E, 1, 1>(panel, 0, x, m, out, column, count);
    case 2:
      return float_tile<E, 2, 1>(panel, 0, x, m, out, column, count);
    case 3:
      return float_tile<E, 3, 1>(panel, 0, x, m, out, column, count);
    case 4:
      return float_tile<E, 4, 1>(panel, 0, x, m, out, column, count);
    case 5:
      return float_tile<E, 5, 1>(panel, 0, x, m, out, column, count);
    case 6:
      return float_tile<E, 6, 1>(panel, 0, x, m, out, column, count);
  }
}

template <class E>
void all_float_rows(const uint8_t* panel, const Activation& x, int64_t rows, const Output& out,
                    int64_t column, int64_t count) {
  const int64_t tiles = (rows + kFloatTile - 1) / kFloatTile;
  for (int64_t t = 0, m = 0; t < tiles; ++t) {
    const int64_t next = (t + 1) * rows / tiles;
    float_rows<E>(panel, x, m, next - m, out, column, count);
    m = next;
  }
}

template <class E>
void linear_float(const Matrix& w, const Activation& x, int64_t rows, int64_t first, int64_t last,
                  const Output& out, uint8_t* scratch) {
  const int64_t bytes = w.columns * E::kBytes;
  float* expanded = (float*)scratch;
  for (int64_t p = first; p < last; ++p) {
    const uint8_t* panel = w.data + p * bytes;
    const int64_t column = p * kPanelRows;
    if (rows == 1 && p + 4 <= last) {  // four panels hide the latency of one chain per output
      float_tile<E, 1, 4>(panel, bytes, x, 0, out, column, w.rows - column);
      p += 3;
    } else if (rows <= kFloatTile) {
      float_rows<E>(panel, x, 0, rows, out, column, w.rows - column);
    } else {
      for (int64_t k = 0; k < w.columns; ++k)
        for (int h = 0; h < 2; ++h)
          store(expanded + k * kPanelRows + 8 * h, E::read(panel + k * E::kBytes, h));
      all_float_rows<Float32>(scratch, x, rows, out, column, w.rows - column);
    }
  }
}

void linear(const Matrix& w, const Activation& x, int64_t rows, int64_t first, int64_t last,
            const Output& out, uint8_t* scratch) {
  using wazn::Layout;
  switch (w.layout) {
    case Layout::kF32:
      return linear_float<Float32>(w, x, rows, first, last, out, scratch);
    case Layout::kF16:
      return linear_float<Float16>(w, x, rows, first, last, out, scratch);
    case Layout::kBF16:
      return linear_float<BrainFloat16>(w, x, rows, first, last, out, scratch);
    default:
      with_format(w.layout,
                  [&]<class F>() { linear_quantised<F>(w, x, rows, first, last, out, scratch); });
  }
}

// float32 arithmetic on dequantised weights, a panel at a time.
void linear_exact(const Matrix& w, const Activation& x, int64_t rows, int64_t first, int64_t last,
                  const Output& out, uint8_t* scratch) {
  if (w.layout <= wazn::Layout::kBF16) return linear(w, x, rows, first, last, out, scratch);
  with_format(w.layout, [&]<class F>() {
    const int64_t bytes = w.columns / F::kSpan * F::kBytes;
    for (int64_t p = first; p < last; ++p) {
      float* expanded = (float*)scratch;
      for (int64_t k = 0; k < w.columns; k += 32)
        dequantize_32<F>(w.data + p * bytes, k, expanded + k * kPanelRows);
      all_float_rows<Float32>(scratch, x, rows, out, p * kPanelRows, w.rows - p * kPanelRows);
    }
  });
}

template <class E>
void read_float_row(const Matrix& w, int64_t row, float* out) {
  const uint8_t* panel = w.data + row / kPanelRows * w.columns * E::kBytes;
  float values[kPanelRows];
  for (int64_t k = 0; k < w.columns; ++k) {
    for (int h = 0; h < 2; ++h) store(values + 8 * h, E::read(panel + k * E::kBytes, h));
    out[k] = values[row % kPanelRows];
  }
}

void dequantize_row(const Matrix& w, int64_t row, float* out) {
  using wazn::Layout;
  switch (w.layout) {
    case Layout::kF32:
      return read_float_row<Float32>(w, row, out);
    case Layout::kF16:
      return read_float_row<Float16>(w, row, out);
    case Layout::kBF16:
      return read_float_row<BrainFloat16>(w, row, out);
    default:
      with_format(w.layout, [&]<class F>() {
        const uint8_t* panel = w.data + row / kPanelRows * (w.columns / F::kSpan * F::kBytes);
        float block[32 * kPanelRows];
        for (int64_t k = 0; k < w.columns; k += 32) {
          dequantize_32<F>(panel, k, block);
          for (int i = 0; i < 32; ++i) out[k + i] = block[i * kPanelRows + row % kPanelRows];
        }
      });
  }
}

}  // namespace
