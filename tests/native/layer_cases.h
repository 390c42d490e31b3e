// Cases of the driver for the kernels of layer_kernels.h.
#pragma once

#include "case.h"
#include "layer_kernels.h"

namespace {

const wazn::LayerKernels& layers() { return *kernels().layers; }

// Cached rows of a format: `latent` and `rotary` numbers of each position.
struct CachedRows {
  Data memory;
  std::vector<const uint8_t*> rows;

  CachedRows(const wazn::LatentShape& shape, int64_t count, const float* latent,
             const float* rotary)
      : memory(count * wazn::latent_bytes(shape)) {
    for (int64_t i = 0; i < count; ++i) {
      uint8_t* row = memory.data() + i * wazn::latent_bytes(shape);
      layers().append_latent(latent + i * shape.latent, rotary + i * shape.rotary, shape, row);
      rows.push_back(row);
    }
  }
};

// query rows (the last positions), heads, latent and rotary size, format, positions; queries, their
// rotary part, latents, rotary keys, scale, sinks or nothing.
Data latent(const Case& c) {
  const int64_t rows = c[0], heads = c[1], positions = c[5];
  const wazn::LatentShape shape = {c[2], c[3], (wazn::KvFormat)c[4]};
  const CachedRows cached(shape, positions, c.array<float>(2), c.array<float>(3));
  std::vector<float> out(rows * heads * shape.latent);
  const int64_t group = std::max<int64_t>(1, wazn::kLatentRows / heads);
  for (int64_t r = 0; r < rows; r += group)
    layers().attend_latent(
        {c.array<float>(0) + r * heads * shape.latent, c.array<float>(1) + r * heads * shape.rotary,
         out.data() + r * heads * shape.latent, heads * shape.latent, heads * shape.rotary,
         std::min(group, rows - r), heads, positions - rows + r + 1, shape, c.number(4),
         cached.rows.data(), c.arrays.at(5).empty() ? nullptr : c.array<float>(5)},
        scratch());
  Data result;
  append(result, out.data(), out.size());
  return result;
}

// heads, size, positions, format; queries, weights, keys, scale.
Data index(const Case& c) {
  const wazn::LatentShape shape = {c[1], 0, (wazn::KvFormat)c[3]};
  const CachedRows cached(shape, c[2], c.array<float>(2), nullptr);
  std::vector<float> scores((c[2] + 63) / 64 * 64);
  layers().index_scores({c.array<float>(0), c.array<float>(1), c[0], c[2], shape, c.number(3),
                         cached.rows.data(), scores.data()},
                        scratch());
  Data result;
  append(result, scores.data(), c[2]);
  return result;
}

// columns; x, weight, bias, epsilon.
Data layer_norm(const Case& c) {
  Data out = c.arrays.at(0);
  layers().layer_norm(c.array<float>(0), c.array<float>(1), c.array<float>(2), c[0], c.number(3),
                      (float*)out.data());
  return out;
}

// rows, columns, size; x, weight. In two runs, so that the second goes on from the first.
Data convolve(const Case& c) {
  Data out = c.arrays.at(0);
  std::vector<float> window((c[2] - 1) * c[1]);
  const int64_t half = c[0] / 2;
  float* x = (float*)out.data();
  layers().causal_conv(x, c[1], half, 0, c[1], c.array<float>(1), c[2], window.data(), c[1]);
  layers().causal_conv(x + half * c[1], c[1], c[0] - half, 0, c[1], c.array<float>(1), c[2],
                       window.data(), c[1]);
  return out;
}

// rows, key size, value size; queries, keys, values, a, b, rate, bias. One head.
Data delta(const Case& c) {
  const int64_t rows = c[0], key_dim = c[1], value_dim = c[2];
  Data query = c.arrays.at(0), out(rows * value_dim * 4);
  std::vector<float> state(key_dim * value_dim), decay(rows), beta(rows);
  for (int64_t r = 0; r < rows; ++r) {
    float* q = (float*)query.data() + r * key_dim;
    layers().unit_length(q, key_dim, 1e-6f, 0.5f, q);
    layers().delta_gates(c.array<float>(3) + r, c.array<float>(4) + r, c.array<float>(5),
                         c.array<float>(6), 1, decay.data() + r, beta.data() + r);
  }
  layers().delta_rule({(float*)query.data(), c.array<float>(1), c.array<float>(2), decay.data(),
                       beta.data(), (float*)out.data(), key_dim, value_dim, 1, rows, key_dim,
                       value_dim, state.data()});
  return out;
}

// slots, columns; values, gates, biases.
Data pool(const Case& c) {
  Data out(c[1] * 4);
  std::vector<wazn::Slot> slots;
  for (int64_t s = 0; s < c[0]; ++s)
    slots.push_back(
        {c.array<float>(0) + s * c[1], c.array<float>(1) + s * c[1], c.array<float>(2) + s * c[1]});
  layers().pool(slots.data(), c[0], c[1], (float*)out.data());
  return out;
}

// columns; gate and up, limit. The product by gelu, then the clamped one.
Data gate(const Case& c) {
  Data out(c[0] * 8);
  const float *gate = c.array<float>(0), *up = c.array<float>(1);
  layers().geglu(gate, up, c[0], (float*)out.data());
  layers().clamped_glu(gate, up, c[0], c.number(2), (float*)out.data() + c[0]);
  return out;
}

// columns; x, factor, cap.
Data scale(const Case& c) {
  Data out = c.arrays.at(0);
  layers().scale((float*)out.data(), c[0], c.number(1), c.number(2));
  return out;
}

// columns; x. Then the sigmoid of x times x.
Data activate(const Case& c) {
  Data out(c[0] * 8);
  kernels().sqrt_softplus(c.array<float>(0), c[0], (float*)out.data());
  kernels().gate(c.array<float>(0), c.array<float>(0), c[0], (float*)out.data() + c[0]);
  return out;
}

}  // namespace
