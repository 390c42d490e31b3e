// What the kernels compute on, and the table of them that each instruction set provides.
// Plain data only: this header is shared by code that is compiled for different CPUs.
#pragma once

#include <stdint.h>

namespace wazn {

constexpr int64_t kPanelRows = 16;  // weight rows per panel: the accumulator lane is the row
constexpr int64_t kPage = 64;       // positions per KV page and per block of attention
constexpr int64_t kChunkPages = 8;  // blocks that attention merges before it merges chunks

// Bytes between the weights that are read and those that are fetched meanwhile, into the
// first-level cache and, further ahead, into the second. Hardware prefetchers lose their stream at
// the end of every page: two threads decode 18 instead of 11 GB/s of Q4_K with the first alone
// (Emerald Rapids; 1 or 2 KiB ahead gave 15), and another 7% with both (13% of Q4_0 and Q8_0, 3% of
// Q6_K).
constexpr int64_t kNearAhead = 1024, kAhead = 2048, kFarAhead = 8192;

// How keys and values are kept; int8 has a float32 scale for each position and head.
enum class KvFormat : int32_t { kFloat32, kFloat16, kInt8 };

// Number formats, as packed. bind.cpp names them in this order.
enum class Layout : int32_t {
  kF32,
  kF16,
  kBF16,  // columns of 16 rows, as floats
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kIQ4_NL,
  kMXFP4,  // scales per 32 columns
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_XS,  // sub-scales within 256 columns
  kINT4,
  kINT4_128,
  kINT8,
  kINT8_128,  // integers with a zero, scales per 32 or 128 columns
};
constexpr Layout kLastLayout = Layout::kINT8_128;

// A weight matrix in panels of 16 rows; the last panel is padded with zero rows.
struct Matrix {
  const uint8_t* data;
  int64_t rows, columns;
  Layout layout;
};

constexpr int64_t kScaleSpan = 256;  // columns that share a float scale of activations

// 32 columns of a row of activations in 8 bits: value = scale * multiplier * code, with an integer
// multiplier for each 16, up to kLargestMultiplier. Codes are in the order of the instruction set
// (see simd.h). Sums of codes are those of columns 0 to 7, 16 to 23, 0 to 15 and 16 to 31; `sum` is
// that of multiplier * code, which float32 holds exactly.
struct Block8 {
  int8_t codes[32];
  int16_t multipliers[2], code_sums[4];
  float sum;

  float sum_of_half(int half) const { return (float)(multipliers[half] * code_sums[2 + half]); }
};
// The same in 16 bits, for the vocabulary head: value = scale * code, codes up to kLargestCode16
// and in the order of packed lines: columns 2i, 2i + 1, 16 + 2i, 16 + 2i + 1 of a block.
struct Block16 {
  int16_t codes[32];
  int32_t sums[2];  // of both halves
  float sum;

  float sum_of_half(int half) const { return (float)sums[half]; }
};
// A row of them, with a float scale for each kScaleSpan columns (the last span may be shorter).
// What products read of a block lies together, so that a row takes one address.
template <class B>
struct Codes {
  using Block = B;
  Block* blocks;
  float* scales;

  Codes from(int64_t c) const {  // of the columns from c on, which begins a scale span
    return {blocks + c / 32, scales + c / kScaleSpan};
  }
};
using Codes8 = Codes<Block8>;
using Codes16 = Codes<Block16>;
// With these limits the sum of any 32 products of any format, sub-scales included, fits int32.
constexpr int kLargestMultiplier = 127, kLargestCode16 = 16383;

// Activations (rows, columns): as floats and, where a quantised product reads them, as codes of
// `bits` (8 or 16; 0: floats only), one for each row.
struct Activation {
  int64_t columns;
  float* floats;
  Codes8* codes;
  Codes16* wide_codes;
  int64_t bits;
};

// Where a product goes: out[row * stride + column] = product (+ bias) (+ what was there).
struct Output {
  float* data;
  int64_t stride;
  const float* bias;  // per column, or null
  bool accumulate;
};

// Bytes of a page's keys and values of one KV head.
constexpr int64_t kv_page_bytes(int64_t head_dim, KvFormat format) {
  const int64_t values = 2 * kPage * head_dim;
  if (format == KvFormat::kInt8) return values + 2 * kPage * 4;
  return values * (format == KvFormat::kFloat16 ? 2 : 4);
}

// Which positions a row attends to, besides none after its own: the last `window`, and none before
// the last multiple of `chunk`; 0: no such limit.
struct Reach {
  int64_t window = 0, chunk = 0;
  bool operator==(const Reach&) const = default;
};
constexpr int64_t first_seen(const Reach& reach, int64_t position) {
  const int64_t of_window =
      reach.window && position >= reach.window ? position - reach.window + 1 : 0;
  const int64_t of_chunk = reach.chunk ? position - position % reach.chunk : 0;
  return of_window > of_chunk ? of_window : of_chunk;
}

// One attention task: `num_rows` query rows of one sequence against parts of one KV head's
// positions. A part is a chunk or, for a row that sees no more than one chunk, a block.
struct Attention {
  const float* queries;    // first row of the task; heads of the group are adjacent
  float* out;              // same shape as queries
  int64_t stride;          // floats between rows of queries and of out
  int64_t num_rows;        // consecutive positions
  int64_t first_position;  // position of the first row
  int64_t group;           // query heads per KV head
  int64_t head_dim;
  float scale;
  KvFormat format;
  const uint8_t* const* pages;  // page i holds positions [64 i, 64 i + 64)
  const uint8_t* next_page;     // what this thread probably reads after these
  int64_t part_pages, first_part, last_part;
  float* partials;         // null: all parts, to out; else parts [num_rows * group][head_dim + 16]
  int64_t partial_stride;  // floats between parts
  Reach reach;
  float softcap;         // scores become softcap * tanh(score / softcap); 0: they stay
  const float* sinks;    // per head of the group, one more score without a value; null: none
  const float* factors;  // per row of the task, of its scores; null: none
};

// The parts of one row and head, `stride` floats apart, and its sink, or null.
struct AttentionParts {
  const float* partials;
  int64_t count, stride, head_dim;
  const float* sink;
};

// Which numbers are rotated: `width` of each of `heads` heads that lie `stride` apart.
struct RopeShape {
  int64_t heads, stride, width;
  bool interleaved, inverse;
};

constexpr int64_t kLogitBlock = 64;  // logits that share a peak and a sum

// How logits become weights: e^((logit - peak) * inverse_temperature).
struct Softmax {
  float peak, inverse_temperature;
};

struct LayerKernels;  // of kinds of layers that few families have: layer_kernels.h

// Everything an instruction set must provide. Scratch is 64-byte aligned, per thread.
struct Kernels {
  const char* name;
  int64_t tile;  // rows that one pass over the weights can serve
  // Panels [first, last) of w times `rows` rows of x; `exact` computes in float32 on dequantised
  // weights.
  void (*linear)(const Matrix& w, const Activation& x, int64_t rows, int64_t first, int64_t last,
                 const Output& out, uint8_t* scratch);
  void (*linear_exact)(const Matrix& w, const Activation& x, int64_t rows, int64_t first,
                       int64_t last, const Output& out, uint8_t* scratch);
  // One row of w as floats.
  void (*dequantize_row)(const Matrix& w, int64_t row, float* out);
  void (*quantize)(const float* x, int64_t columns, const Codes8& out);
  void (*quantize_wide)(const float* x, int64_t columns, const Codes16& out);
  void (*rms_norm)(const float* x, const float* weight, int64_t columns, float eps, float* out);
  void (*swiglu)(const float* gate, const float* up, int64_t columns, float* out);
  void (*sigmoid)(const float* x, int64_t columns, float* out);
  void (*gate)(const float* gate, const float* x, int64_t columns, float* out);
  void (*sqrt_softplus)(const float* x, int64_t columns, float* out);
  void (*softmax)(const float* x, int64_t columns, float* out);
  void (*add_scaled)(const float* x, float factor, int64_t columns, float* out);
  void (*rope)(float* x, const float* angles, const RopeShape& shape);
  // Writes one position's key and value of one head into its page.
  void (*append_kv)(const float* key, const float* value, int64_t head_dim, int64_t slot,
                    KvFormat format, uint8_t* page);
  void (*attend)(const Attention& task, uint8_t* scratch);
  // One row's head, (head_dim), from the partial results of its parts.
  void (*merge_parts)(const AttentionParts& parts, float* out);
  const LayerKernels* layers;
  // Of each block of logits the peak, or the sum of the weights; see logits.h.
  float (*block_peaks)(const float* x, int64_t count, float* peaks);
  void (*weigh_logits)(const float* x, int64_t count, const Softmax& softmax, float* weights,
                       float* sums);
};

constexpr int64_t num_panels(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }
int64_t panel_bytes(Layout layout, int64_t columns);
int64_t linear_scratch_bytes(int64_t columns, int64_t max_rows);
int64_t attention_scratch_bytes(int64_t head_dim);

constexpr int64_t kAttentionRows = 48;  // query rows (positions x group) per attention tile

constexpr int64_t num_scale_spans(int64_t columns) {
  return (columns + kScaleSpan - 1) / kScaleSpan;
}

const LayerKernels* avx2_layers();
const LayerKernels* avx_vnni_layers();
const LayerKernels* avx512_vnni_layers();
const LayerKernels* neon_dotprod_layers();
const Kernels* avx2_kernels();
const Kernels* avx_vnni_kernels();
const Kernels* avx512_vnni_kernels();
const Kernels* neon_dotprod_kernels();

}  // namespace wazn
