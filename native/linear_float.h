// Matrix products on panels of floats, as stored or dequantised: one fused multiply-add per column,
// in order.
#pragma once

#include "linear.h"

namespace {

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
      fetch_after<false>(panel + p * bytes + k * E::kBytes, E::kBytes);
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
      all_float_rows<F32>(scratch, x, rows, out, column, w.rows - column);
    }
  }
}

void linear_floats(const Matrix& w, const Activation& x, int64_t rows, int64_t first, int64_t last,
                   const Output& out, uint8_t* scratch) {
  with_float_format(w.layout,
                    [&]<class E>() { linear_float<E>(w, x, rows, first, last, out, scratch); });
}

// float32 arithmetic on dequantised weights, a panel at a time.
void linear_exact(const Matrix& w, const Activation& x, int64_t rows, int64_t first, int64_t last,
                  const Output& out, uint8_t* scratch) {
  if (w.layout <= wazn::Layout::kBF16) return linear_floats(w, x, rows, first, last, out, scratch);
  with_format(w.layout, [&]<class F>() {
    const int64_t bytes = w.columns / F::kSpan * F::kBytes;
    for (int64_t p = first; p < last; ++p) {
      float* expanded = (float*)scratch;
      for (int64_t b = 0; b < w.columns / 32; ++b)
        dequantize_32<F>(w.data + p * bytes, b, expanded + b * 32 * kPanelRows);
      all_float_rows<F32>(scratch, x, rows, out, p * kPanelRows, w.rows - p * kPanelRows);
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
  with_float_format(w.layout, [&]<class E>() { read_float_row<E>(w, row, out); });
  with_format(w.layout, [&]<class F>() {
    const uint8_t* panel = w.data + row / kPanelRows * (w.columns / F::kSpan * F::kBytes);
    float block[32 * kPanelRows];
    for (int64_t b = 0; b < w.columns / 32; ++b) {
      dequantize_32<F>(panel, b, block);
      for (int i = 0; i < 32; ++i) out[32 * b + i] = block[i * kPanelRows + row % kPanelRows];
    }
  });
}

}  // namespace
