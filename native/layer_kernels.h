// Kernels of kinds of layers that only some families have: latent attention and linear attention.
// Plain data only: this header is shared by code that is compiled for different CPUs.
#pragma once

#include "kernels.h"

namespace wazn {

constexpr int64_t kLatentRows = 64;  // query rows (positions x heads) per task of latent attention

// A cached row of latent attention: `latent` numbers that are key and value, `rotary` more of the
// key, then padding and, for int8, a scale (latent.h).
struct LatentShape {
  int64_t latent, rotary;
  KvFormat format;
};
constexpr int64_t latent_width(const LatentShape& shape) {  // numbers, padding included
  return (shape.latent + shape.rotary + 15) / 16 * 16;
}
constexpr int64_t latent_bytes(const LatentShape& shape) {
  const int64_t width = latent_width(shape);
  if (shape.format == KvFormat::kInt8) return width + 4;
  return width * (shape.format == KvFormat::kFloat16 ? 2 : 4);
}

// One task of latent attention: `heads` heads of `num_rows` consecutive query rows of one sequence.
// The first query row sees the first `first_count` of the listed cached rows, each later one more.
struct LatentAttention {
  const float *queries, *rotary;  // (rows, heads, latent) and (rows, heads, rotary) of the task
  float* out;                     // as queries
  int64_t query_stride, rotary_stride;  // floats between rows of queries and of out; of rotary
  int64_t num_rows, heads, first_count;
  LatentShape shape;
  float scale;
  const uint8_t* const* rows;
  const float* sinks;  // per head, one more score that nothing is read for; null: none
};

// The recurrence of one value head of a gated delta net over consecutive rows (delta.h).
struct DeltaTask {
  const float *query, *key, *value;  // first row of the head
  const float *decay, *beta;         // (rows) factors of the state and of the correction
  float* out;
  // Floats between rows of query and key; of value and out; of decay and beta.
  int64_t key_stride, value_stride, gate_stride;
  int64_t num_rows, key_dim, value_dim;
  float* state;  // (key_dim, value_dim)
};

// Scores of cached rows for one query row (latent.h): sum over heads of
// weight * max(scale * query . row, 0).
struct IndexTask {
  const float *queries, *weights;  // (heads, shape.latent), (heads)
  int64_t heads, count;
  LatentShape shape;
  float scale;
  const uint8_t* const* rows;
  float* scores;  // (count), whole blocks of 64 of them
};

// One of the rows that are pooled: its values, and the gate and bias of each of them.
struct Slot {
  const float *values, *gates, *biases;
};

int64_t index_scratch_bytes(const LatentShape& shape, int64_t heads);
int64_t latent_scratch_bytes(const LatentShape& shape);

// Scratch is 64-byte aligned, per thread.
struct LayerKernels {
  // Writes one position's latent and rotary part into its cached row.
  void (*append_latent)(const float* latent, const float* rotary, const LatentShape& shape,
                        uint8_t* row);
  void (*attend_latent)(const LatentAttention& task, uint8_t* scratch);
  void (*index_scores)(const IndexTask& task, uint8_t* scratch);
  // Each column's values, weighted by the softmax over slots of gate + bias (compress.h).
  void (*pool)(const Slot* slots, int64_t count, int64_t columns, float* out);
  void (*clamp)(float* x, int64_t columns, float low, float high);
  void (*scale)(float* x, int64_t columns, float factor, float cap);  // scale.h
  // Gates of a product besides silu (gates.h). out may be gate or up.
  void (*geglu)(const float* gate, const float* up, int64_t columns, float* out);
  void (*clamped_glu)(const float* gate, const float* up, int64_t columns, float limit, float* out);
  // (x - mean) / sqrt(variance + eps) * weight + bias. out may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t columns,
                     float eps, float* out);
  // Columns [first, last) of `num_rows` rows, in place, `window` being what came before them.
  void (*causal_conv)(float* x, int64_t stride, int64_t num_rows, int64_t first, int64_t last,
                      const float* weight, int64_t size, float* window, int64_t columns);
  void (*unit_length)(const float* x, int64_t columns, float eps, float factor, float* out);
  // beta = sigmoid(b), decay = e^(rate * softplus(a + bias)), each per head.
  void (*delta_gates)(const float* a, const float* b, const float* rate, const float* bias,
                      int64_t heads, float* decay, float* beta);
  void (*delta_rule)(const DeltaTask& task);
};

}  // namespace wazn
