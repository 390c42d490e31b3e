// Matrix products on packed panels. The arithmetic of one output is a fixed sequence over the
// columns, whatever the number of rows: exact integer sums per group of columns that share a scale,
// one float step per group, one more per 256 columns. So a product alone (GEMV) and one among
// hundreds (GEMM) agree to the bit, on every instruction set.
#pragma once

#include "formats.h"

namespace {

using wazn::Activation;
using wazn::kScaleSpan;
using wazn::Matrix;
using wazn::Output;

WAZN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Calls f.template operator()<n>() for 1 <= n <= N.
template <int N, class F>
WAZN_INLINE void with_count(int64_t n, F&& f) {
  if (n == N) return f.template operator()<N>();
  if constexpr (N > 1) with_count<N - 1>(n, f);
}

// Signed codes become unsigned where the dot product wants that.
template <class F>
constexpr bool kIsFlipped = kIsUnsigned && F::Codec::kDepth == 0;
template <class F>
constexpr int kCodeOffset = F::kOffset + (kIsFlipped<F> ? 128 : 0);

// Where a tile finds its weights: Direct unpacks in registers (few rows, memory-bound), Expanded
// reads codes and scales that were unpacked once for many rows.
template <class F>
struct Direct {
  const uint8_t* panel;

  WAZN_INLINE void lines(int64_t b, int i, Bytes (&w)[2]) const {
    F::Codec::lines(F::codes(panel, b), i, w);
    pair_lines(w[0], w[1]);
    if constexpr (kIsFlipped<F>)
      for (int l = 0; l < 2; ++l) w[l] = flip_signs(w[l]);
  }
  WAZN_INLINE void scales(int64_t b, Floats (&d)[F::kGroups], Floats (&m)[F::kGroups]) const {
    F::scales(panel, b, d, m);
  }
};

template <class F>
struct Expanded {
  static constexpr int kScales = F::kGroups * (F::kHasMin ? 2 : 1);
  uint8_t* codes;  // [blocks][8 lines][16 rows][4]
  float* values;   // [blocks][scales, then mins][16 rows]

  Expanded(uint8_t* scratch, int64_t blocks)
      : codes(scratch), values((float*)(scratch + blocks * 512)) {}
  void fill(const Direct<F>& source, int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      Bytes w[2];
      for (int i = 0; i < 4; ++i) {
        source.lines(b, i, w);
        for (int l = 0; l < 2; ++l) store_line(codes + (b - first) * 512 + 128 * i + 64 * l, w[l]);
      }
      Floats d[F::kGroups], m[F::kGroups];
      source.scales(b, d, m);
      float* v = values + (b - first) * kScales * kPanelRows;
      for (int g = 0; g < F::kGroups; ++g) {
        store(v + g * kPanelRows, d[g]);
        if constexpr (F::kHasMin) store(v + (F::kGroups + g) * kPanelRows, m[g]);
      }
    }
  }
  WAZN_INLINE void lines(int64_t b, int i, Bytes (&w)[2]) const {
    for (int l = 0; l < 2; ++l) w[l] = load_line(codes + b * 512 + 128 * i + 64 * l);
  }
  WAZN_INLINE void scales(int64_t b, Floats (&d)[F::kGroups], Floats (&m)[F::kGroups]) const {
    const float* v = values + b * kScales * kPanelRows;
    for (int g = 0; g < F::kGroups; ++g) {
      d[g] = load(v + g * kPanelRows);
      if constexpr (F::kHasMin) m[g] = load(v + (F::kGroups + g) * kPanelRows);
    }
  }
};

// The integer sums of one block, of Y rows of 8-bit activations: of both halves, or each.
template <class F, int Y, class Source>
WAZN_INLINE void sum_block(const Source& w, int64_t b, const wazn::Narrow (&x)[Y], int64_t xb,
                           Words (&sum)[Y][F::kGroups]) {
  constexpr int steps = depth<F::Codec::kDepth>();
  Dots dots[Y];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    Bytes q[2];
    w.lines(b, i, q);
#pragma GCC unroll 2
    for (int l = 0; l < 2; ++l) {
      const int line = 2 * i + l;
      if (line % steps == 0)
        for (int y = 0; y < Y; ++y) dots[y] = no_dots();
      for (int y = 0; y < Y; ++y)
        dot<F::Codec::kDepth>(dots[y], line, q[l], x[y].codes + 32 * xb + 4 * line);
      if (line % steps != steps - 1) continue;
      for (int y = 0; y < Y; ++y) {
        const Pair m = load_pair(x[y].multipliers + 2 * xb);
        Words part[F::kGroups];
        if constexpr (F::kGroups == 1) {
          part[0] = weigh<F::Codec::kIsSmall>(dots[y], m);
        } else {
          part[0] = weigh_first(dots[y], m);
          part[1] = weigh_second(dots[y], m);
        }
        for (int g = 0; g < F::kGroups; ++g)
          sum[y][g] = line < steps ? part[g] : add(sum[y][g], part[g]);
      }
    }
  }
}

// The same of 16-bit activations.
template <class F, int Y, class Source>
WAZN_INLINE void sum_block(const Source& w, int64_t b, const wazn::Wide (&x)[Y], int64_t xb,
                           Words (&sum)[Y][F::kGroups]) {
  Words half[Y][2];
  for (int y = 0; y < Y; ++y) half[y][0] = half[y][1] = no_words();
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    Bytes q[2];
    w.lines(b, i, q);
#pragma GCC unroll 2
    for (int l = 0; l < 2; ++l) {
      const Widened v = widen(q[l], F::Codec::kDepth == 0 && !kIsFlipped<F>);
      const int line = 2 * i + l;
      for (int y = 0; y < Y; ++y) dot_wide(half[y], line, v, x[y].codes + 32 * xb + 4 * line);
    }
  }
  for (int y = 0; y < Y; ++y) {
    if constexpr (F::kGroups == 1) {
      sum[y][0] = add(half[y][0], half[y][1]);
    } else {
      sum[y][0] = half[y][0];
      sum[y][1] = half[y][1];
    }
  }
}

template <int kOffset>
WAZN_INLINE Words times_offset(int32_t sum) {
  if constexpr ((kOffset & (kOffset - 1)) == 0)
    return shift_left<__builtin_ctz(kOffset)>(splat(sum));
  return splat(kOffset * sum);
}

// Rows per tile; the head's 16-bit activations come in few rows.
template <class X>
constexpr int kTileOf = kTile;
template <>
constexpr int kTileOf<wazn::Wide> = 4;

// Adds Y rows x blocks [first, last) of one panel to `out`; block `first` is block 0 of `w`. X says
// how wide the activations are.
template <class F, int Y, class X, class Source>
WAZN_INLINE void tile(const Source& w, int64_t first, int64_t last, const X (&x)[Y],
                      Floats (&out)[Y]) {
  constexpr int64_t span = kScaleSpan / 32;
  for (int64_t start = first; start < last; start += span) {
    Floats total[Y];
    for (int y = 0; y < Y; ++y) total[y] = zero();
    const int64_t stop = smaller(start + span, last);
    for (int64_t b = start; b < stop; ++b) {
      Words sum[Y][F::kGroups];
      sum_block<F, Y>(w, b - first, x, b, sum);
      Floats d[F::kGroups], m[F::kGroups];
      w.scales(b - first, d, m);
      for (int y = 0; y < Y; ++y) {
        const int32_t* sums = F::kGroups == 2 ? x[y].sums_16 + 2 * b : x[y].sums_32 + b;
        for (int g = 0; g < F::kGroups; ++g) {
          Words s = sum[y][g];
          if constexpr (kCodeOffset<F> != 0) s = sub(s, times_offset<kCodeOffset<F>>(sums[g]));
          total[y] = fma(d[g], to_floats(s), total[y]);
          if constexpr (F::kHasMin) total[y] = fma(m[g], to_floats(splat(sums[g])), total[y]);
        }
      }
    }
    for (int y = 0; y < Y; ++y) out[y] = fma(total[y], splat(x[y].scales[start / span]), out[y]);
  }
}

// Adds bias and what was there, and writes the 16 (or fewer) outputs of one row.
WAZN_INLINE void finish(const Output& out, int64_t row, int64_t column, int64_t count, Floats sum) {
  float* target = out.data + row * out.stride + column;
  if (count >= kPanelRows) {
    if (out.bias) sum = add(sum, load(out.bias + column));
    if (out.accumulate) sum = add(load(target), sum);
    return store(target, sum);
  }
  float values[kPanelRows];
  store(values, sum);
  for (int64_t r = 0; r < count; ++r) {
    float v = values[r];
    if (out.bias) v = v + out.bias[column + r];
    target[r] = out.accumulate ? target[r] + v : v;
  }
}

// A panel's part in a product: blocks [first, last) of `num_rows` rows, into `sums` [rows][16] or,
// with the last block, to where the product goes.
struct Part {
  int64_t first, last, num_blocks;
  float* sums;
  int64_t column, count;  // of the output
};

template <class F, int Y, class X, class Source>
void tile_of_rows(const Source& w, const X* x, int64_t row, const Part& part, const Output& out) {
  X rows[Y];
  Floats sum[Y];
  for (int y = 0; y < Y; ++y) {
    rows[y] = x[row + y];
    sum[y] = part.first == 0 ? zero() : load(part.sums + (row + y) * kPanelRows);
  }
  tile<F, Y>(w, part.first, part.last, rows, sum);
  for (int y = 0; y < Y; ++y) {
    if (part.last == part.num_blocks)
      finish(out, row + y, part.column, part.count, sum[y]);
    else
      store(part.sums + (row + y) * kPanelRows, sum[y]);
  }
}

// Rows [row, row + num_rows) in one tile, num_rows <= kTileOf<X>.
template <class F, class X, class Source>
WAZN_INLINE void rows_in_one_tile(const Source& w, const X* x, int64_t row, int64_t num_rows,
                                  const Part& part, const Output& out) {
  with_count<kTileOf<X>>(num_rows, [&]<int Y>() { tile_of_rows<F, Y>(w, x, row, part, out); });
}

// A panel is unpacked `kChunk` blocks at a time, which stay in the first-level cache with the rows
// of a tile, for `kRowBlock` rows, which stay in the second-level cache from panel to panel.
constexpr int64_t kChunk = 32, kRowBlock = 128;

// One panel and rows [row, row + num_rows), more than a tile.
template <class F, class X>
void panel_of_rows(const Direct<F>& panel, const X* x, int64_t row, int64_t num_rows, Part part,
                   const Output& out, uint8_t* scratch) {
  Expanded<F> expanded(scratch, kChunk);
  part.sums = expanded.values + kChunk * Expanded<F>::kScales * kPanelRows - row * kPanelRows;
  const int64_t tiles = (num_rows + kTileOf<X> - 1) / kTileOf<X>;
  for (part.first = 0; part.first < part.num_blocks; part.first += kChunk) {
    part.last = smaller(part.first + kChunk, part.num_blocks);
    expanded.fill(panel, part.first, part.last);
    for (int64_t t = 0; t < tiles; ++t) {  // even tiles, never a remainder of one
      const int64_t from = t * num_rows / tiles, to = (t + 1) * num_rows / tiles;
      rows_in_one_tile<F>(expanded, x, row + from, to - from, part, out);
    }
  }
}

template <class F, class X>
void linear_rows(const Matrix& w, const X* x, int64_t rows, int64_t first, int64_t last,
                 const Output& out, uint8_t* scratch) {
  const int64_t blocks = w.columns / 32, row_blocks = (rows + kRowBlock - 1) / kRowBlock;
  for (int64_t r = 0; r < row_blocks; ++r) {
    const int64_t row = r * rows / row_blocks, num_rows = (r + 1) * rows / row_blocks - row;
    for (int64_t p = first; p < last; ++p) {
      const Direct<F> panel{w.data + p * (w.columns / F::kSpan * F::kBytes)};
      const int64_t column = p * kPanelRows, count = smaller(kPanelRows, w.rows - column);
      const Part part = {0, blocks, blocks, nullptr, column, count};
      if (num_rows <= kTileOf<X>)
        rows_in_one_tile<F>(panel, x, row, num_rows, part, out);
      else
        panel_of_rows<F>(panel, x, row, num_rows, part, out, scratch);
    }
  }
}

// Y rows against P adjacent float panels: one fused multiply-add per column, in order.
template <class E, int Y, int P>
WAZN_INLINE void float_tile(const uint8_t* panel, int64_t bytes, const Activation& x, int64_t m,
                            const Output& out, int64_t column, int64_t count) {
  Floats sum[P][Y];
  const float* rows[Y];
  for (int y = 0; y < Y; ++y) rows[y] = x.floats + (m + y) * x.columns;
  for (int p = 0; p < P; ++p)
    for (int y = 0; y < Y; ++y) sum[p][y] = zero();
  for (int64_t k = 0; k < x.columns; ++k)
    for (int p = 0; p < P; ++p) {
      const Floats w = E::read(panel + p * bytes + k * E::kBytes);
      for (int y = 0; y < Y; ++y) sum[p][y] = fma(w, splat(rows[y][k]), sum[p][y]);
    }
  for (int p = 0; p < P; ++p)
    for (int y = 0; y < Y; ++y)
      finish(out, m + y, column + p * kPanelRows, count - p * kPanelRows, sum[p][y]);
}

template <class E>
void float_rows(const uint8_t* panel, const Activation& x, int64_t m, int64_t num_rows,
                const Output& out, int64_t column, int64_t count) {
  with_count<kFloatTile>(num_rows,
                         [&]<int Y>() { float_tile<E, Y, 1>(panel, 0, x, m, out, column, count); });
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
        store(expanded + k * kPanelRows, E::read(panel + k * E::kBytes));
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
      with_format(w.layout, [&]<class F>() {
        if (x.wide)
          linear_rows<F>(w, x.wide, rows, first, last, out, scratch);
        else
          linear_rows<F>(w, x.narrow, rows, first, last, out, scratch);
      });
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
      for (int64_t b = 0; b < w.columns / 32; ++b)
        dequantize_32<F>(w.data + p * bytes, b, expanded + b * 32 * kPanelRows);
      all_float_rows<Float32>(scratch, x, rows, out, p * kPanelRows, w.rows - p * kPanelRows);
    }
  });
}

template <class E>
void read_float_row(const Matrix& w, int64_t row, float* out) {
  const uint8_t* panel = w.data + row / kPanelRows * w.columns * E::kBytes;
  float values[kPanelRows];
  for (int64_t k = 0; k < w.columns; ++k) {
    store(values, E::read(panel + k * E::kBytes));
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
        for (int64_t b = 0; b < w.columns / 32; ++b) {
          dequantize_32<F>(panel, b, block);
          for (int i = 0; i < 32; ++i) out[32 * b + i] = block[i * kPanelRows + row % kPanelRows];
        }
      });
  }
}

}  // namespace
