// Matrix products on packed panels. The arithmetic of one output is a fixed sequence over the
// columns, whatever the number of rows: exact integer sums per group of columns that share a scale,
// one float step per group, one more per 256 columns. So a product alone (GEMV) and one among
// hundreds (GEMM) agree to the bit, on every instruction set.
#pragma once

#include "formats.h"

namespace {

using wazn::Activation;
using wazn::Codes16;
using wazn::Codes8;
using wazn::kScaleSpan;
using wazn::Matrix;
using wazn::Output;

WAZN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Calls f.template operator()<n>() for kFirst <= n <= N.
template <int N, int kFirst = 1, class F>
WAZN_INLINE void with_count(int64_t n, F&& f) {
  if (n == N) return f.template operator()<N>();
  if constexpr (N > kFirst) with_count<N - 1, kFirst>(n, f);
}

template <class X>
constexpr bool kIsWide = __is_same(X, Codes16);

// Signed codes become unsigned where the dot product with activations X wants that.
template <class F, class X>
constexpr bool kIsFlipped = !kIsWide<X> && kIsUnsigned && F::Codec::kDepth == 0;
template <class F, class X>
using ShapeOf = Shape<F::Codec::kDepth, F::Codec::kIsSmall, F::kGroups, F::kHasMin,
                      F::kOffset + (kIsFlipped<F, X> ? 128 : 0)>;

// Rows per tile. Those of 16 bits have an integer accumulator for each group of columns.
template <class S, class X>
constexpr int kTileOf = kIsWide<X> ? kTile / S::kGroups : kTile;

// Where a tile finds its weights: Direct unpacks in registers (few rows, memory-bound), Expanded
// reads codes and scales that were unpacked once for many rows.
template <class F, class X>
struct Direct {
  using Shape = ShapeOf<F, X>;
  const uint8_t* panel;

  WAZN_INLINE void prefetch(int64_t b) const {
    constexpr int64_t bytes = F::kBytes / (F::kSpan / 32);
    fetch(panel + wazn::kAhead + b * bytes, bytes);
  }
  WAZN_INLINE void lines(int64_t b, int i, Bytes (&w)[2]) const {
    F::Codec::lines(F::codes(panel, b), i, w);
    if constexpr (!kIsWide<X>) pair_lines(w[0], w[1]);
    if constexpr (kIsFlipped<F, X>)
      for (int l = 0; l < 2; ++l) w[l] = flip_signs(w[l]);
  }
  WAZN_INLINE void scales(int64_t b, Floats (&d)[F::kGroups], Floats (&m)[F::kGroups]) const {
    F::scales(panel, b, d, m);
  }
};

template <class S>
struct Expanded {
  using Shape = S;
  static constexpr int kScales = S::kGroups * (S::kHasMin ? 2 : 1);
  uint8_t* codes;  // [blocks][8 lines][16 rows][4]
  float* values;   // [blocks][scales, then mins][16 rows]

  Expanded(uint8_t* scratch, int64_t blocks)
      : codes(scratch), values((float*)(scratch + blocks * 512)) {}
  template <class Source>
  void fill(const Source& source, int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      source.prefetch(b);
      Bytes w[2];
      for (int i = 0; i < 4; ++i) {
        source.lines(b, i, w);
        for (int l = 0; l < 2; ++l) store_line(codes + (b - first) * 512 + 128 * i + 64 * l, w[l]);
      }
      Floats d[S::kGroups], m[S::kGroups];
      source.scales(b, d, m);
      float* v = values + (b - first) * kScales * kPanelRows;
      for (int g = 0; g < S::kGroups; ++g) {
        store(v + g * kPanelRows, d[g]);
        if constexpr (S::kHasMin) store(v + (S::kGroups + g) * kPanelRows, m[g]);
      }
    }
  }
  WAZN_INLINE void prefetch(int64_t) const {}  // it is in the first-level cache
  WAZN_INLINE void lines(int64_t b, int i, Bytes (&w)[2]) const {
    for (int l = 0; l < 2; ++l) w[l] = load_line(codes + b * 512 + 128 * i + 64 * l);
  }
  WAZN_INLINE void scales(int64_t b, Floats (&d)[S::kGroups], Floats (&m)[S::kGroups]) const {
    const float* v = values + b * kScales * kPanelRows;
    for (int g = 0; g < S::kGroups; ++g) {
      d[g] = load(v + g * kPanelRows);
      if constexpr (S::kHasMin) m[g] = load(v + (S::kGroups + g) * kPanelRows);
    }
  }
};

// The integer sums of one block, of Y rows of activations: of both halves, or each.
template <class S, int Y, class Source>
WAZN_INLINE void sum_block(const Source& w, int64_t b, const Codes8 (&x)[Y], int64_t xb,
                           Words (&sum)[Y][S::kGroups]) {
  constexpr int steps = depth<S::kDepth>();
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
        dot<S::kDepth>(dots[y], line, q[l], x[y].codes + 32 * xb + 4 * line);
      if (line % steps != steps - 1) continue;
      for (int y = 0; y < Y; ++y) {
        const Pair m = load_pair(x[y].multipliers + 2 * xb);
        Words part[S::kGroups];
        if constexpr (S::kGroups == 1) {
          part[0] = weigh<S::kIsSmall>(dots[y], m);
        } else {
          part[0] = weigh_first(dots[y], m);
          part[1] = weigh_second(dots[y], m);
        }
        for (int g = 0; g < S::kGroups; ++g) sum[y][g] = add(sum[y][g], part[g]);
      }
    }
  }
}

// The same of 16-bit activations, whose products int32 holds without multipliers.
template <class S, int Y, class Source>
WAZN_INLINE void sum_block(const Source& w, int64_t b, const Codes16 (&x)[Y], int64_t xb,
                           Words (&sum)[Y][S::kGroups]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    Bytes q[2];
    w.lines(b, i, q);
#pragma GCC unroll 2
    for (int l = 0; l < 2; ++l)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const Halves pairs = widened_half<S::kDepth == 0>(q[l], h);
        for (int y = 0; y < Y; ++y)
          dot_wide(sum[y][h % S::kGroups], pairs, x[y].codes + 32 * xb + 4 * (2 * i + l) + 2 * h);
      }
  }
}

template <int kOffset>
WAZN_INLINE Words times_offset(int32_t sum) {
  if constexpr ((kOffset & (kOffset - 1)) == 0)
    return shift_left<__builtin_ctz(kOffset)>(splat(sum));
  return splat(kOffset * sum);
}

// Adds Y rows x blocks [first, last) of one panel to `out`; block `first` is block 0 of `w`.
template <int Y, class X, class Source>
WAZN_INLINE void tile(const Source& w, int64_t first, int64_t last, const X (&x)[Y],
                      Floats (&out)[Y]) {
  using S = typename Source::Shape;
  constexpr int64_t span = kScaleSpan / 32;
  for (int64_t start = first; start < last; start += span) {
    Floats total[Y];
    for (int y = 0; y < Y; ++y) total[y] = zero();
    const int64_t stop = smaller(start + span, last);
    for (int64_t b = start; b < stop; ++b) {
      w.prefetch(b - first);
      Words sum[Y][S::kGroups];
      for (int y = 0; y < Y; ++y)
        for (int g = 0; g < S::kGroups; ++g) sum[y][g] = no_words();
      sum_block<S, Y>(w, b - first, x, b, sum);
      Floats d[S::kGroups], m[S::kGroups];
      w.scales(b - first, d, m);
      for (int y = 0; y < Y; ++y) {
        for (int g = 0; g < S::kGroups; ++g) {
          Words s = sum[y][g];
          const int32_t all = S::kGroups == 2 ? x[y].sums_16[2 * b + g] : x[y].sums_32[b];
          if constexpr (S::kOffset != 0) s = sub(s, times_offset<S::kOffset>(all));
          total[y] = fma(d[g], to_floats(s), total[y]);
          if constexpr (S::kHasMin) total[y] = fma(m[g], to_floats(splat(all)), total[y]);
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

template <int Y, class X, class Source>
void tile_of_rows(const Source& w, const X* x, int64_t row, const Part& part, const Output& out) {
  X rows[Y];
  Floats sum[Y];
  for (int y = 0; y < Y; ++y) {
    rows[y] = x[row + y];
    sum[y] = part.first == 0 ? zero() : load(part.sums + (row + y) * kPanelRows);
  }
  tile<Y>(w, part.first, part.last, rows, sum);
  for (int y = 0; y < Y; ++y) {
    if (part.last == part.num_blocks)
      finish(out, row + y, part.column, part.count, sum[y]);
    else
      store(part.sums + (row + y) * kPanelRows, sum[y]);
  }
}

// Calls f.template operator()<Y>(first) for tiles of Y rows. They are of even sizes: of more than
// one, none is smaller than half of the largest.
template <int kLargest, int kSmallest, class F>
WAZN_INLINE void each_tile(int64_t num_rows, F&& f) {
  const int64_t tiles = (num_rows + kLargest - 1) / kLargest;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t from = t * num_rows / tiles, to = (t + 1) * num_rows / tiles;
    with_count<kLargest, kSmallest>(to - from, [&]<int Y>() { f.template operator()<Y>(from); });
  }
}

// Up to two tiles unpack a panel each for itself, in registers. For more rows it is unpacked once,
// `kChunk` blocks at a time, which stay in the first-level cache with the rows of a tile, for
// `kRowBlock` rows, which stay in the second-level cache from panel to panel.
constexpr int64_t kDirectTiles = 2, kChunk = 32, kRowBlock = 128;

// One panel and rows [row, row + num_rows), too many to unpack for each tile.
template <class X, class Source>
void expanded_rows(const Source& panel, const X* x, int64_t row, int64_t num_rows, Part part,
                   const Output& out, uint8_t* scratch) {
  constexpr int kLargest = kTileOf<typename Source::Shape, X>, kSmallest = (kLargest + 1) / 2;
  using Weights = Expanded<typename Source::Shape>;
  Weights expanded(scratch, kChunk);
  part.sums = expanded.values + kChunk * Weights::kScales * kPanelRows - row * kPanelRows;
  for (part.first = 0; part.first < part.num_blocks; part.first += kChunk) {
    part.last = smaller(part.first + kChunk, part.num_blocks);
    expanded.fill(panel, part.first, part.last);
    each_tile<kLargest, kSmallest>(num_rows, [&]<int Y>(int64_t from) {
      tile_of_rows<Y>(expanded, x, row + from, part, out);
    });
  }
}

template <class F, class X>
void linear_rows(const Matrix& w, const X* x, int64_t rows, int64_t first, int64_t last,
                 const Output& out, uint8_t* scratch) {
  constexpr int kLargest = kTileOf<ShapeOf<F, X>, X>;
  const int64_t blocks = w.columns / 32, row_blocks = (rows + kRowBlock - 1) / kRowBlock;
  for (int64_t r = 0; r < row_blocks; ++r) {
    const int64_t row = r * rows / row_blocks, num_rows = (r + 1) * rows / row_blocks - row;
    for (int64_t p = first; p < last; ++p) {
      const Direct<F, X> panel{w.data + p * (w.columns / F::kSpan * F::kBytes)};
      const int64_t column = p * kPanelRows, count = smaller(kPanelRows, w.rows - column);
      const Part part = {0, blocks, blocks, nullptr, column, count};
      if (num_rows <= kDirectTiles * kLargest)
        each_tile<kLargest, 1>(num_rows, [&]<int Y>(int64_t from) {
          tile_of_rows<Y>(panel, x, row + from, part, out);
        });
      else
        expanded_rows(panel, x, row, num_rows, part, out, scratch);
    }
  }
}

}  // namespace

// The parts of `linear`, compiled apart (see CMakeLists.txt).
namespace wazn::WAZN_ISA {

void linear_4bit(const Matrix& w, const Codes8* x, int64_t rows, int64_t first, int64_t last,
                 const Output& out, uint8_t* scratch);
void linear_other(const Matrix& w, const Codes8* x, int64_t rows, int64_t first, int64_t last,
                  const Output& out, uint8_t* scratch);
void linear_wide(const Matrix& w, const Codes16* x, int64_t rows, int64_t first, int64_t last,
                 const Output& out, uint8_t* scratch);

}  // namespace wazn::WAZN_ISA
