// How each packed number format is read: codes (small integers in registers) and their scales.
//
// A panel is 16 rows x all columns, as a sequence of blocks. Codes come in groups of 4 columns:
// 64 bytes [16 rows][4 columns], so one register holds 8 rows and the accumulator lane is the row.
//   32-column formats:   codes | scale[16] | min[16]                        (block of 32 columns)
//   256-column formats:  8 x codes | sub-scales | sub-mins | scale | min    (block of 256 columns)
// Sub-scales are bytes [pair of sub-blocks][16 rows][2], the order `dot_2_halves` wants.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace {

using wazn::kPanelRows;

const int8_t kIq4Codes[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                              1,    13,   25,  38,  53,  69,  89,  113};
const int8_t kMxfp4Codes[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Codes of 16 rows x 32 columns. kDepth: how many products of unsigned code x int8 pairs add up in
// int16 without overflow (signed codes: 1).
struct Unsigned4 {
  static constexpr int64_t kBytes = 256;
  static constexpr int kDepth = 8;
  static constexpr bool kSigned = false;
  static WAZN_INLINE void group(const uint8_t* p, int j, Bytes (&w)[2]) {
    for (int h = 0; h < 2; ++h) {
      const Bytes x = load_bytes(p + 64 * (j & 3) + 32 * h);
      w[h] = j < 4 ? low_nibbles(x) : high_nibbles(x);
    }
  }
};
struct Unsigned5 {
  static constexpr int64_t kBytes = 256 + 64;  // then bit j of a plane: bit 4 of group j
  static constexpr int kDepth = 4;
  static constexpr bool kSigned = false;
  static WAZN_INLINE void group(const uint8_t* p, int j, Bytes (&w)[2]) {
    Unsigned4::group(p, j, w);
    for (int h = 0; h < 2; ++h) w[h] = either(w[h], bits(load_bytes(p + 256 + 32 * h), j, 1, 4));
  }
};
struct Unsigned6 {
  static constexpr int64_t kBytes = 256 + 128;  // then two planes of bits 4 and 5 of 4 groups each
  static constexpr int kDepth = 2;
  static constexpr bool kSigned = false;
  static WAZN_INLINE void group(const uint8_t* p, int j, Bytes (&w)[2]) {
    Unsigned4::group(p, j, w);
    for (int h = 0; h < 2; ++h)
      w[h] = either(w[h], bits(load_bytes(p + 256 + 64 * (j >> 2) + 32 * h), 2 * (j & 3), 2, 4));
  }
};
struct Signed8 {
  static constexpr int64_t kBytes = 512;
  static constexpr int kDepth = 1;
  static constexpr bool kSigned = true;
  static WAZN_INLINE void group(const uint8_t* p, int j, Bytes (&w)[2]) {
    for (int h = 0; h < 2; ++h) w[h] = load_bytes(p + 64 * j + 32 * h);
  }
};
template <const int8_t* kTable>
struct Codebook4 {
  static constexpr int64_t kBytes = 256;
  static constexpr int kDepth = 1;
  static constexpr bool kSigned = true;
  static WAZN_INLINE void group(const uint8_t* p, int j, Bytes (&w)[2]) {
    Unsigned4::group(p, j, w);
    for (int h = 0; h < 2; ++h) w[h] = look_up(kTable, w[h]);
  }
};

enum class Scale { kF16, kPowerOfTwo };

// value = scale * (code - 2^kOffsetBits) (+ min); kOffsetBits < 0: no offset.
template <class C, int kOffset, bool kMin, Scale kScale = Scale::kF16>
struct Block32 {
  using Codec = C;
  static constexpr int64_t kSpan = 32;
  static constexpr int kOffsetBits = kOffset;
  static constexpr bool kHasMin = kMin;
  static constexpr int64_t kScaleBytes = kScale == Scale::kF16 ? 32 : 16;
  static constexpr int64_t kBytes = C::kBytes + kScaleBytes + (kMin ? 32 : 0);

  static WAZN_INLINE void scales(const uint8_t* block, Floats (&d)[2], Floats (&m)[2]) {
    const uint8_t* p = block + C::kBytes;
    for (int h = 0; h < 2; ++h) {
      d[h] =
          kScale == Scale::kF16 ? load_f16((const uint16_t*)p + 8 * h) : load_e8m0_half(p + 8 * h);
      m[h] = kMin ? load_f16((const uint16_t*)(p + 32) + 8 * h) : zero();
    }
  }
};

// value = (scale * sub-scale) * (code - 2^kOffsetBits) (- min * sub-min).
template <class C, int kSubBlocks, int kOffset, bool kMin, bool kSignedSub>
struct Block256 {
  using Codec = C;
  static constexpr int64_t kSpan = 256;
  static constexpr int kSubs = kSubBlocks;  // 8 of 32 columns, or 16 of 16
  static constexpr int kOffsetBits = kOffset;
  static constexpr bool kHasMin = kMin;
  static constexpr int64_t kCodeBytes = 8 * C::kBytes;
  static constexpr int64_t kSubBytes = kPanelRows * kSubs;
  static constexpr int64_t kBytes = kCodeBytes + kSubBytes * (kMin ? 2 : 1) + 32 * (kMin ? 2 : 1);

  // Sub-scales 2i and 2i + 1 of 8 rows each, as int16 pairs.
  static WAZN_INLINE void scale_pair(const uint8_t* block, int i, Halves (&s)[2]) {
    for (int h = 0; h < 2; ++h) {
      const uint8_t* p = block + kCodeBytes + 32 * i + 16 * h;
      s[h] = kSignedSub ? widen_signed(p) : widen_unsigned(p);
    }
  }
  static WAZN_INLINE void min_pair(const uint8_t* block, int i, Halves (&m)[2]) {
    for (int h = 0; h < 2; ++h)
      m[h] = widen_unsigned(block + kCodeBytes + kSubBytes + 32 * i + 16 * h);
  }
  static WAZN_INLINE void scales(const uint8_t* block, Floats (&d)[2], Floats (&m)[2]) {
    const uint8_t* p = block + kCodeBytes + kSubBytes * (kMin ? 2 : 1);
    for (int h = 0; h < 2; ++h) {
      d[h] = load_f16((const uint16_t*)p + 8 * h);
      m[h] = kMin ? load_f16((const uint16_t*)(p + 32) + 8 * h) : zero();
    }
  }
};

using Q4_0 = Block32<Unsigned4, 3, false>;
using Q4_1 = Block32<Unsigned4, -1, true>;
using Q5_0 = Block32<Unsigned5, 4, false>;
using Q5_1 = Block32<Unsigned5, -1, true>;
using Q8_0 = Block32<Signed8, -1, false>;
using IQ4_NL = Block32<Codebook4<kIq4Codes>, -1, false>;
using MXFP4 = Block32<Codebook4<kMxfp4Codes>, -1, false, Scale::kPowerOfTwo>;
using Q2_K = Block256<Unsigned4, 16, -1, true, false>;
using Q3_K = Block256<Unsigned4, 16, 2, false, true>;
using Q4_K = Block256<Unsigned4, 8, -1, true, false>;
using Q5_K = Block256<Unsigned5, 8, -1, true, false>;
using Q6_K = Block256<Unsigned6, 16, 5, false, true>;
using IQ4_XS = Block256<Codebook4<kIq4Codes>, 8, -1, false, true>;

struct Float32 {
  static constexpr int64_t kBytes = 4 * kPanelRows;
  static WAZN_INLINE Floats read(const uint8_t* p, int h) { return load((const float*)p + 8 * h); }
};
struct Float16 {
  static constexpr int64_t kBytes = 2 * kPanelRows;
  static WAZN_INLINE Floats read(const uint8_t* p, int h) {
    return load_f16((const uint16_t*)p + 8 * h);
  }
};
struct BrainFloat16 {
  static constexpr int64_t kBytes = 2 * kPanelRows;
  static WAZN_INLINE Floats read(const uint8_t* p, int h) {
    return load_bf16((const uint16_t*)p + 8 * h);
  }
};

// Calls f.template operator()<Format>() for the quantised format of a layout.
template <class F>
WAZN_INLINE void with_format(wazn::Layout layout, F&& f) {
  using wazn::Layout;
  switch (layout) {
    case Layout::kQ4_0:
      return f.template operator()<Q4_0>();
    case Layout::kQ4_1:
      return f.template operator()<Q4_1>();
    case Layout::kQ5_0:
      return f.template operator()<Q5_0>();
    case Layout::kQ5_1:
      return f.template operator()<Q5_1>();
    case Layout::kQ8_0:
      return f.template operator()<Q8_0>();
    case Layout::kIQ4_NL:
      return f.template operator()<IQ4_NL>();
    case Layout::kMXFP4:
      return f.template operator()<MXFP4>();
    case Layout::kQ2_K:
      return f.template operator()<Q2_K>();
    case Layout::kQ3_K:
      return f.template operator()<Q3_K>();
    case Layout::kQ4_K:
      return f.template operator()<Q4_K>();
    case Layout::kQ5_K:
      return f.template operator()<Q5_K>();
    case Layout::kQ6_K:
      return f.template operator()<Q6_K>();
    case Layout::kIQ4_XS:
      return f.template operator()<IQ4_XS>();
    default:
      return;
  }
}

// 32 columns of a panel as floats [32][16 rows]: exactly the values of the file. `column` is a
// multiple of 32. Products and sums are separate operations, as in the reference.
template <class F>
WAZN_INLINE void dequantize_32(const uint8_t* panel, int64_t column, float* out) {
  const uint8_t* block = panel + column / F::kSpan * F::kBytes;
  const int b = (int)(column % F::kSpan / 32);
  Floats d[2], m[2];
  F::scales(block, d, m);
  for (int j = 0; j < 8; ++j) {
    Bytes w[2];
    F::Codec::group(block + b * F::Codec::kBytes, j, w);
    for (int h = 0; h < 2; ++h) {
      Floats scale = d[h], low = m[h];
      if constexpr (F::kSpan == 256) {
        const int sub = F::kSubs == 8 ? b : 2 * b + j / 4;
        Halves pair[2];
        F::scale_pair(block, sub / 2, pair);
        scale = mul(scale, half_to_floats(pair[h], sub % 2));
        if constexpr (F::kHasMin) {
          F::min_pair(block, sub / 2, pair);
          low = mul(low, half_to_floats(pair[h], sub % 2));
        }
      }
      for (int i = 0; i < 4; ++i) {
        Floats code = byte_to_floats(w[h], i, F::Codec::kSigned);
        if constexpr (F::kOffsetBits >= 0) code = sub(code, splat(float(1 << F::kOffsetBits)));
        Floats value = mul(scale, code);
        if constexpr (F::kHasMin) value = F::kSpan == 256 ? sub(value, low) : add(value, low);
        store(out + (4 * j + i) * kPanelRows + 8 * h, value);
      }
    }
  }
}

}  // namespace
