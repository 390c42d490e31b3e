// Runs the kernels of one instruction set on cases from standard input and writes what they compute
// to standard output: a check of kernels for CPUs that Python need not run on (see driver.py).
//
//   case:   operation | number of parameters | parameters | number of arrays | (bytes | data) each
//   answer: bytes | data
//
// All numbers are 64-bit integers.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "case.h"
#include "kernels.h"
#include "layer_cases.h"
#include "pack.h"

namespace {

using wazn::kPanelRows;

enum Operation {
  kLinear,
  kRow,
  kQuantize,
  kRmsNorm,
  kSwiglu,
  kRope,
  kAttend,
  kLatent,
  kIndex,
  kLayerNorm,
  kConvolve,
  kDelta,
  kPool,
  kActivate,
  kGate,
  kScale
};

struct Packed {
  Data data;
  wazn::Matrix matrix;

  Packed(wazn::Layout layout, int64_t rows, int64_t columns, const uint8_t* raw) {
    const wazn::FormatSize block = wazn::file_block(layout);
    const int64_t row_bytes = columns / block.columns * block.bytes;
    const int64_t bytes = wazn::panel_bytes(layout, columns);
    for (int64_t row = 0; row < rows; row += kPanelRows) {
      const int64_t count = rows - row < kPanelRows ? rows - row : kPanelRows;
      data.resize(data.size() + bytes);
      wazn::pack_panel(layout, raw + row * row_bytes, count, columns,
                       data.data() + data.size() - bytes);
    }
    matrix = {data.data(), rows, columns, layout};
  }
};

// A row of activations in 8 or in 16 bits.
struct Row {
  std::vector<wazn::Block8> blocks;
  std::vector<wazn::Block16> wide_blocks;
  std::vector<float> scales;

  Row(const float* x, int64_t columns, int64_t bits)
      : blocks(bits == 8 ? columns / 32 : 0),
        wide_blocks(bits == 16 ? columns / 32 : 0),
        scales(wazn::num_scale_spans(columns)) {
    if (bits == 8) kernels().quantize(x, columns, narrow());
    if (bits == 16) kernels().quantize_wide(x, columns, wide());
  }
  wazn::Codes8 narrow() { return {blocks.data(), scales.data()}; }
  wazn::Codes16 wide() { return {wide_blocks.data(), scales.data()}; }
  void append_to(Data& out) const {
    append(out, blocks.data(), blocks.size());
    append(out, wide_blocks.data(), wide_blocks.size());
    append(out, scales.data(), scales.size());
  }
};

// layout, rows and columns of the weights, rows of x, 0 exact or 1 floats or bits of x;
// the weights as in a file, x, bias or nothing, what to add to or nothing.
Data linear(const Case& c) {
  const int64_t outputs = c[1], columns = c[2], rows = c[3];
  const Packed w((wazn::Layout)c[0], outputs, columns, c.array<uint8_t>(0));
  const float* x = c.array<float>(1);
  std::vector<float> out(rows * outputs);
  if (!c.arrays.at(3).empty()) std::memcpy(out.data(), c.array<float>(3), out.size() * 4);
  const int64_t bits = c[4] > 1 ? c[4] : 0;
  std::vector<Row> quantised;
  std::vector<wazn::Codes8> narrow;
  std::vector<wazn::Codes16> wide;
  for (int64_t r = 0; bits && r < rows; ++r) {
    Row& row = quantised.emplace_back(x + r * columns, columns, bits);
    narrow.push_back(row.narrow());
    wide.push_back(row.wide());
  }
  const wazn::Activation input = {columns, (float*)x, narrow.data(), wide.data(), bits};
  const wazn::Output output = {out.data(), outputs,
                               c.arrays.at(2).empty() ? nullptr : c.array<float>(2),
                               !c.arrays.at(3).empty()};
  const auto kernel = c[4] == 0 ? kernels().linear_exact : kernels().linear;
  kernel(w.matrix, input, rows, 0, (outputs + kPanelRows - 1) / kPanelRows, output, scratch());
  Data result;
  append(result, out.data(), out.size());
  return result;
}

// layout, rows, columns; the weights as in a file. All rows as floats.
Data row(const Case& c) {
  const Packed w((wazn::Layout)c[0], c[1], c[2], c.array<uint8_t>(0));
  std::vector<float> out(c[1] * c[2]);
  for (int64_t r = 0; r < c[1]; ++r) kernels().dequantize_row(w.matrix, r, out.data() + r * c[2]);
  Data result;
  append(result, out.data(), out.size());
  return result;
}

// columns, bits; x. The quantised row.
Data quantize(const Case& c) {
  Data out;
  Row(c.array<float>(0), c[0], c[1]).append_to(out);
  return out;
}

// columns; x of one row, weight, epsilon.
Data rms_norm(const Case& c) {
  Data out(c[0] * 4);
  kernels().rms_norm(c.array<float>(0), c.array<float>(1), c[0], c.number(2), (float*)out.data());
  return out;
}

// columns; gate and up of one row.
Data swiglu(const Case& c) {
  Data out(c[0] * 4);
  kernels().swiglu(c.array<float>(0), c.array<float>(1), c[0], (float*)out.data());
  return out;
}

// heads, size of a head, interleaved; x of one row, angles.
Data rope(const Case& c) {
  Data out = c.arrays.at(0);
  kernels().rope((float*)out.data(), c.array<float>(1), {c[0], c[1], c[1], c[2] != 0, false});
  return out;
}

// query rows (the last positions), query heads, size of a head, KV format, window, chunk; queries,
// keys and values of every position, scale, cap of scores, sinks or nothing, factors of the rows or
// nothing. What the rows get, then the pages. A single row goes chunk by chunk.
Data attend(const Case& c) {
  const int64_t rows = c[0], group = c[1], dim = c[2];
  const auto format = (wazn::KvFormat)c[3];
  const wazn::Reach reach = {c[4], c[5]};
  const float* sinks = c.arrays.at(5).empty() ? nullptr : c.array<float>(5);
  const float* factors = c.arrays.at(6).empty() ? nullptr : c.array<float>(6);
  const int64_t positions = c.arrays.at(1).size() / (4 * dim);
  const int64_t bytes = wazn::kv_page_bytes(dim, format);
  const int64_t num_pages = (positions + wazn::kPage - 1) / wazn::kPage;
  const int64_t num_chunks = (num_pages + wazn::kChunkPages - 1) / wazn::kChunkPages;
  Data cache(num_pages * bytes);
  std::vector<const uint8_t*> pages;
  for (int64_t p = 0; p < num_pages; ++p) pages.push_back(cache.data() + p * bytes);
  for (int64_t i = 0; i < positions; ++i)
    kernels().append_kv(c.array<float>(1) + i * dim, c.array<float>(2) + i * dim, dim,
                        i % wazn::kPage, format, cache.data() + i / wazn::kPage * bytes);
  const int64_t stride = group * dim, tile = wazn::kAttentionRows / group, part = dim + 16;
  std::vector<float> out(rows * stride), partials(num_chunks * group * part);
  for (int64_t r = 0; r < rows; r += tile) {
    const int64_t first = positions - rows + r, count = rows - r < tile ? rows - r : tile;
    const int64_t seen = (first + count + wazn::kPage - 1) / wazn::kPage;
    const int64_t chunks = (seen + wazn::kChunkPages - 1) / wazn::kChunkPages;
    const int64_t first_chunk = wazn::first_seen(reach, first) / (wazn::kPage * wazn::kChunkPages);
    kernels().attend({c.array<float>(0) + r * stride,
                      out.data() + r * stride,
                      stride,
                      count,
                      first,
                      group,
                      dim,
                      c.number(3),
                      format,
                      pages.data(),
                      pages[0],
                      wazn::kChunkPages,
                      first_chunk,
                      chunks,
                      rows == 1 ? partials.data() : nullptr,
                      group * part,
                      reach,
                      c.number(4),
                      sinks,
                      factors ? factors + r : nullptr},
                     scratch());
    for (int64_t h = 0; rows == 1 && h < group; ++h)
      kernels().merge_parts({partials.data() + h * part, chunks - first_chunk, group * part, dim,
                             sinks ? sinks + h : nullptr},
                            out.data() + h * dim);
  }
  Data result;
  append(result, out.data(), out.size());
  append(result, cache.data(), cache.size());
  return result;
}

Data answer(const Case& c) {
  switch (c.operation) {
    case kLinear:
      return linear(c);
    case kRow:
      return row(c);
    case kQuantize:
      return quantize(c);
    case kRmsNorm:
      return rms_norm(c);
    case kSwiglu:
      return swiglu(c);
    case kRope:
      return rope(c);
    case kAttend:
      return attend(c);
    case kLatent:
      return latent(c);
    case kIndex:
      return index(c);
    case kLayerNorm:
      return layer_norm(c);
    case kConvolve:
      return convolve(c);
    case kDelta:
      return delta(c);
    case kPool:
      return pool(c);
    case kActivate:
      return activate(c);
    case kGate:
      return gate(c);
    case kScale:
      return scale(c);
  }
  std::fprintf(stderr, "there is no operation %lld\n", (long long)c.operation);
  std::exit(2);
}

void read_exactly(void* target, size_t bytes) {
  if (std::fread(target, 1, bytes, stdin) == bytes) return;
  std::fprintf(stderr, "the input ends within a case\n");
  std::exit(2);
}
int64_t read_integer() {
  int64_t value;
  read_exactly(&value, sizeof value);
  return value;
}

}  // namespace

int main() {
  for (int64_t operation; std::fread(&operation, 1, 8, stdin) == 8;) {
    Case c = {operation, std::vector<int64_t>(read_integer()), {}};
    for (int64_t& parameter : c.parameters) parameter = read_integer();
    c.arrays.resize(read_integer());
    for (Data& array : c.arrays) {
      array.resize(read_integer());
      read_exactly(array.data(), array.size());
    }
    const Data result = answer(c);
    const int64_t size = result.size();
    std::fwrite(&size, 1, 8, stdout);
    std::fwrite(result.data(), 1, size, stdout);
  }
}
