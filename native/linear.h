// Matrix products on packed panels. The arithmetic of one output is a fixed sequence over the
// columns, whatever the number of rows: exact integer sums of 32 columns (with the sub-scales of
// 16, where a format has them), one float step for each, one more per 256 columns. So a product
// alone (GEMV) and one among hundreds (GEMM) agree to the bit, on every instruction set.
#pragma once

#include "formats.h"

namespace {

using wazn::Activation;
using wazn::Block16;
using wazn::Block8;
using wazn::Codes16;
using wazn::Codes8;
using wazn::kScaleSpan;
using wazn::Matrix;
using wazn::Output;

constexpr int64_t kSpanBlocks = kScaleSpan / 32;

WAZN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Asks for what comes after weights that are being read, from two distances or, earlier, from
// three: one row of Q4_K_M decodes 1.01 to 1.08, SmolLM2 1.01 to 1.04 times as fast by it (Zen 4).
template <bool kEarly>
WAZN_INLINE void fetch_after(const uint8_t* p, int64_t bytes) {
  constexpr int kIntoSecondLevel = 2;
  for (int64_t i = 0; i < bytes; i += kLine) {
    if constexpr (kEarly) __builtin_prefetch(p + 2 * wazn::kFarAhead + i, 0, kIntoSecondLevel);
    __builtin_prefetch(p + wazn::kFarAhead + i, 0, kIntoSecondLevel);
    __builtin_prefetch(p + (kEarly ? 2 : 1) * wazn::kAhead + i);
  }
}

// The same from close by and past the second-level cache, where the CPU's own prefetchers see far.
WAZN_INLINE void fetch_next(const uint8_t* p, int64_t bytes) {
  constexpr int kPastSecondLevel = 0;
  for (int64_t i = 0; i < bytes; i += kLine)
    __builtin_prefetch(p + wazn::kNearAhead + i, 0, kPastSecondLevel);
}

// What a tile asks for; kNone: the first tile of its panel has done so for the others.
enum class Fetch : uint8_t { kNone, kNear, kFar };

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
constexpr bool kIsFlipped = !kIsWide<X> && kIsUnsigned && F::Codec::kIsSigned;
template <class F, class X>
using ShapeOf = Shape<lines_in_int16<typename F::Codec, F::kOffset>(), F::kGroups, F::kHasMin,
                      F::kOffset + (kIsFlipped<F, X> ? 128 : 0)>;

// The scales of a block, but for the sub-scales of both halves, if they have one each.
template <class S>
struct Scales {
  Floats scale;
  Floats mins[S::kGroups];
};

// Where a tile finds its weights: Direct unpacks in registers (few rows, memory-bound), Expanded
// reads codes and scales that were unpacked once for many rows. Both hand out spans of 8 blocks,
// these the blocks.
template <class F, class X>
struct Direct {
  using Shape = ShapeOf<F, X>;
  static constexpr int64_t kBlockBytes = F::kBytes / (F::kSpan / 32);
  const uint8_t* panel;
  Fetch fetch;

  struct Block {
    static constexpr bool kIsExpanded = false;
    const typename F::Span& weights;
    int64_t block;
    const uint8_t* data;
    Fetch fetch;

    // On behalf of Y rows: early for one, which waits for memory most, and for 256-column formats,
    // whose scales lie 2 KiB behind the codes that they are read with; near, where the CPU prefers
    // it, for one row of formats whose scales lie beside their codes.
    template <int Y>
    WAZN_INLINE void prefetch() const {
      if constexpr (Y == 1 && F::kSpan == 32)
        if (fetch == Fetch::kNear) return fetch_next(data, kBlockBytes);
      if (fetch != Fetch::kNone) fetch_after<Y == 1 || F::kSpan == 256>(data, kBlockBytes);
    }
    // For 8-bit activations.
    WAZN_INLINE void lines(int i, Bytes (&w)[2]) const {
      F::Codec::lines(weights.codes(block), i, w);
      pair_lines(w[0], w[1]);
      if constexpr (kIsFlipped<F, X>)
        for (int l = 0; l < 2; ++l) w[l] = flip_signs(w[l]);
    }
    // For 16-bit ones: the halves of two lines.
    WAZN_INLINE void lines(int i, Shorts (&w)[4]) const {
      Bytes codes[2];
      F::Codec::lines(weights.codes(block), i, codes);
      for (int k = 0; k < 4; ++k) w[k] = widened_half<F::Codec::kIsSigned>(codes[k / 2], k % 2);
    }
    // The sub-scale of one half, twice.
    WAZN_INLINE Shorts sub_scale(int half) const {
      const int8_t* p = weights.sub_scales(block) + half * kPanelRows;
      return load_pairs(p, p);
    }
    // Those of both.
    WAZN_INLINE Shorts sub_scales() const {
      const int8_t* p = weights.sub_scales(block);
      return load_pairs(p, p + kPanelRows);
    }
    WAZN_INLINE Scales<Shape> scales() const {
      Scales<Shape> s;
      Floats d[F::kGroups];
      weights.scales(block, d, s.mins);
      if constexpr (F::kGroups == 2)
        s.scale = weights.super(0);  // anew: gcc 12 copies that of the span in pieces
      else
        s.scale = d[0];
      return s;
    }
  };
  struct Span {
    typename F::Span weights;
    const uint8_t* data;
    Fetch fetch;

    WAZN_INLINE Block at(int64_t block) const {
      return {weights, block, data + block * kBlockBytes, fetch};
    }
  };
  WAZN_INLINE Span span(int64_t first) const {
    return {{panel, first}, panel + first * kBlockBytes, fetch};
  }
};

template <class S, class X>
struct Expanded {
  using Shape = S;
  static constexpr int64_t kCodeBytes = kIsWide<X> ? 1024 : 512;
  static constexpr int64_t kValues = 1 + (S::kGroups == 2) + (S::kHasMin ? S::kGroups : 0);
  // A chunk stays in the first-level cache.
  static constexpr int64_t kBlocks = 16384 / kCodeBytes;

  uint8_t* codes;  // [blocks][8 lines][16 rows][4], wide: [blocks][16 half lines][16 rows][2]
  float* values;   // [blocks][scale, mins, pairs of sub-scales][16 rows]

  explicit Expanded(uint8_t* scratch)
      : codes(scratch), values((float*)(scratch + kBlocks * kCodeBytes)) {}

  struct Block {
    static constexpr bool kIsExpanded = true;
    uint8_t* codes;
    float* values;

    template <int Y>
    WAZN_INLINE void prefetch() const {}
    WAZN_INLINE void lines(int i, Bytes (&w)[2]) const {
      for (int l = 0; l < 2; ++l) w[l] = load_line(codes + 128 * i + 64 * l);
    }
    WAZN_INLINE void lines(int i, Shorts (&w)[4]) const {
      for (int k = 0; k < 4; ++k) w[k] = load_shorts(codes + 256 * i + 64 * k);
    }
    WAZN_INLINE uint8_t* sub() const { return (uint8_t*)(values + (kValues - 1) * kPanelRows); }
    WAZN_INLINE Shorts sub_scales() const { return load_shorts(sub()); }
    WAZN_INLINE Scales<S> scales() const {
      Scales<S> s;
      s.scale = load(values);
      for (int g = 0; S::kHasMin && g < S::kGroups; ++g)
        s.mins[g] = load(values + (1 + g) * kPanelRows);
      return s;
    }
    template <class Source>
    WAZN_INLINE void fill(const Source& source) const {
      for (int i = 0; i < 4; ++i) {
        uint8_t* target = codes + kCodeBytes / 4 * i;
        if constexpr (kIsWide<X>) {
          Shorts w[4];
          source.lines(i, w);
          for (int k = 0; k < 4; ++k) {
            if constexpr (S::kGroups == 2)
              w[k] = mul(::sub(w[k], splat_short(S::kOffset)), source.sub_scale(k % 2));
            store_shorts(target + 64 * k, w[k]);
          }
        } else {
          Bytes w[2];
          source.lines(i, w);
          for (int l = 0; l < 2; ++l) store_line(target + 64 * l, w[l]);
        }
      }
      const Scales<S> s = source.scales();
      store(values, s.scale);
      for (int g = 0; S::kHasMin && g < S::kGroups; ++g)
        store(values + (1 + g) * kPanelRows, s.mins[g]);
      if constexpr (S::kGroups == 2) store_shorts(sub(), source.sub_scales());
    }
  };
  struct Span {
    uint8_t* codes;
    float* values;

    WAZN_INLINE Block at(int64_t block) const {
      return {codes + block * kCodeBytes, values + block * kValues * kPanelRows};
    }
  };
  WAZN_INLINE Span span(int64_t first) const {
    return {codes + first * kCodeBytes, values + first * kValues * kPanelRows};
  }
  // Unpacks blocks [first, last) of a panel; `first` is block 0 here.
  template <class Source>
  void fill(const Source& panel, int64_t first, int64_t last) {
    for (int64_t start = first; start < last; start += kSpanBlocks) {
      const int64_t blocks = smaller(kSpanBlocks, last - start);
      const auto source = panel.span(start);
      const Span target = span(start - first);
      for (int64_t block = 0; block < blocks; ++block) {
        source.at(block).template prefetch<2>();
        target.at(block).fill(source.at(block));
      }
    }
  }
};

// The integer sums of one block, of Y rows of activations.
template <class S, int Y, class W>
WAZN_INLINE void sum_block(const W& w, const Block8* const (&x)[Y], Words (&sum)[Y]) {
  constexpr int steps = depth<S::kDepth>();
  Dots dots[Y];
  for (int y = 0; y < Y; ++y) sum[y] = no_words();
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    Bytes q[2];
    w.lines(i, q);
#pragma GCC unroll 2
    for (int l = 0; l < 2; ++l) {
      const int line = 2 * i + l;
      if (line % steps == 0)
        for (int y = 0; y < Y; ++y) dots[y] = start<S::kOffset, S::kDepth>(x[y]->code_sums, line);
      for (int y = 0; y < Y; ++y) dot<S::kDepth>(dots[y], line, q[l], x[y]->codes + 4 * line);
      if (line % steps != steps - 1) continue;
      for (int y = 0; y < Y; ++y) {
        Shorts m = splat_pair(x[y]->multipliers);
        if constexpr (S::kGroups == 2) m = mul(m, w.sub_scales());
        sum[y] = add(sum[y], weigh<S::kDepth>(dots[y], m));
      }
    }
  }
}

// The same of 16-bit activations. Sub-scales multiply the sums of both halves, or already the
// codes.
template <class S, int Y, class W>
WAZN_INLINE void sum_block(const W& w, const Block16* const (&x)[Y], Words (&sum)[Y]) {
  constexpr int kSums = S::kGroups == 2 && !W::kIsExpanded ? 2 : 1;
  Words sums[Y][kSums];
  for (int y = 0; y < Y; ++y)
    for (int h = 0; h < kSums; ++h) sums[y][h] = no_words();
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    Shorts q[4];
    w.lines(i, q);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k)
      for (int y = 0; y < Y; ++y) dot_wide(sums[y][k % kSums], q[k], x[y]->codes + 8 * i + 2 * k);
  }
  for (int y = 0; y < Y; ++y) {
    if constexpr (kSums == 2) {
      sum[y] = no_words();
      for (int h = 0; h < 2; ++h) {
        const Words offset = splat(S::kOffset * x[y]->sums[h]);
        sum[y] = add(sum[y], mul(sub(sums[y][h], offset), half_of(w.sub_scales(), h)));
      }
    } else if constexpr (S::kOffset != 0 && S::kGroups == 1) {
      sum[y] = sub(sums[y][0], splat(S::kOffset * (x[y]->sums[0] + x[y]->sums[1])));
    } else {
      sum[y] = sums[y][0];
    }
  }
}

// Adds Y rows x blocks [first, last) of one panel to `out`; block `first` is block 0 of `w`.
template <int Y, class X, class Source>
WAZN_INLINE void tile(const Source& w, int64_t first, int64_t last, const X (&rows)[Y],
                      Floats (&out)[Y]) {
  using S = typename Source::Shape;
  for (int64_t start = first; start < last; start += kSpanBlocks) {
    Floats total[Y];
    for (int y = 0; y < Y; ++y) total[y] = zero();
    const int64_t blocks = smaller(kSpanBlocks, last - start);
    const auto span = w.span(start - first);
    for (int64_t block = 0; block < blocks; ++block) {
      const auto weights = span.at(block);
      weights.template prefetch<Y>();
      const typename X::Block* x[Y];
      for (int y = 0; y < Y; ++y) x[y] = rows[y].blocks + start + block;
      Words sum[Y];
      sum_block<S, Y>(weights, x, sum);
      const Scales<S> scales = weights.scales();  // only now that registers are free
      for (int y = 0; y < Y; ++y) {
        total[y] = fma(scales.scale, to_floats(sum[y]), total[y]);
        for (int g = 0; S::kHasMin && g < S::kGroups; ++g) {
          const float all = S::kGroups == 2 ? x[y]->sum_of_half(g) : x[y]->sum;
          total[y] = fma(scales.mins[g], splat(all), total[y]);
        }
      }
    }
    const int64_t scale = start / kSpanBlocks;
    for (int y = 0; y < Y; ++y) out[y] = fma(total[y], splat(rows[y].scales[scale]), out[y]);
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

// A function of its own: where gcc 12 inlines several, registers spill (two rows of Q4_K: 81
// instead of 105 GMAC/s on one core, Zen 4).
template <int Y, class X, class Source>
__attribute__((noinline)) void tile_of_rows(const Source& w, const X* x, int64_t row,
                                            const Part& part, const Output& out) {
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

// Few tiles unpack a panel in registers. For more rows it is unpacked once, some blocks at a
// time, for `kRowBlock` rows, which stay in the second-level cache from panel to panel.
constexpr int64_t kRowBlock = 128;

// One panel and rows [row, row + num_rows), too many to unpack for each tile.
template <class X, class Source>
void expanded_rows(const Source& panel, const X* x, int64_t row, int64_t num_rows, Part part,
                   const Output& out, uint8_t* scratch) {
  using Weights = Expanded<typename Source::Shape, X>;
  Weights expanded(scratch);
  part.sums = expanded.values + Weights::kBlocks * Weights::kValues * kPanelRows - row * kPanelRows;
  for (part.first = 0; part.first < part.num_blocks; part.first += Weights::kBlocks) {
    part.last = smaller(part.first + Weights::kBlocks, part.num_blocks);
    expanded.fill(panel, part.first, part.last);
    each_tile<kTile, (kTile + 1) / 2>(num_rows, [&]<int Y>(int64_t from) {
      tile_of_rows<Y>(expanded, x, row + from, part, out);
    });
  }
}

template <class F, class X>
void linear_rows(const Matrix& w, const X* x, int64_t rows, int64_t first, int64_t last,
                 const Output& out, uint8_t* scratch) {
  // As many as registers hold, and some times that of what is quickly unpacked.
  constexpr int kDirect = kIsWide<X> ? kTile / F::kGroups : kTile;
  constexpr int64_t kMost = kDirect * (kIsWide<X> ? 2 : F::kSpan == 32 ? 4 : 2);
  const Fetch fetch = prefers_near_fetches() ? Fetch::kNear : Fetch::kFar;
  const int64_t blocks = w.columns / 32, row_blocks = (rows + kRowBlock - 1) / kRowBlock;
  for (int64_t r = 0; r < row_blocks; ++r) {
    const int64_t row = r * rows / row_blocks, num_rows = (r + 1) * rows / row_blocks - row;
    for (int64_t p = first; p < last; ++p) {
      const uint8_t* data = w.data + p * (w.columns / F::kSpan * F::kBytes);
      const int64_t column = p * kPanelRows, count = smaller(kPanelRows, w.rows - column);
      const Part part = {0, blocks, blocks, nullptr, column, count};
      if (num_rows <= kMost)
        each_tile<kDirect, 1>(num_rows, [&]<int Y>(int64_t from) {
          tile_of_rows<Y>(Direct<F, X>{data, from == 0 ? fetch : Fetch::kNone}, x, row + from, part,
                          out);
        });
      else
        expanded_rows(Direct<F, X>{data, fetch}, x, row, num_rows, part, out, scratch);
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
