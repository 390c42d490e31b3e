// How each packed number format is read: codes (small integers in registers) and their scales.
//
// A panel is 16 rows x all columns, as a sequence of blocks. Codes come in lines of 4 columns:
// 64 bytes [16 rows][4 columns] (see simd.h for which), so that the accumulator lane is the row.
//   32-column formats:   8 lines | scale[16] | min[16]                          (block of 32)
//   256-column formats:  8 x 8 lines | sub-scales | sub-mins | scale | min      (block of 256)
//   integers:            8 lines of each 32 columns | scale[16] | zero[16]      (block of 32 or
//   128)
// Sub-scales and sub-mins are bytes [sub-block][16 rows]; those of Q4_K and Q5_K are four lines of
// six-bit numbers, packed as the codes of Q6_K are. Zeros are bytes, signed where the codes are.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace {

using wazn::kPanelRows;

const int8_t kIq4Codes[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                              1,    13,   25,  38,  53,  69,  89,  113};
const int8_t kMxfp4Codes[16] = {12, 13, 14, 15, 16, 18, 20, 24,  // doubled, plus 12: unsigned
                                12, 11, 10, 9,  8,  6,  4,  0};

// Codes of 16 rows x 32 columns, up to kLargest; `lines` reads lines 2i and 2i + 1.
struct Unsigned4 {  // line 2i in the low nibbles, line 2i + 1 in the high ones
  static constexpr int64_t kBytes = 256;
  static constexpr int kLargest = 15;
  static constexpr bool kIsSigned = false;
  static WAZN_INLINE void lines(const uint8_t* p, int i, Bytes (&w)[2]) {
    const Bytes x = load_line(p + 64 * i);
    w[0] = low_nibbles(x);
    w[1] = high_nibbles(x);
  }
};
struct Unsigned5 {
  static constexpr int64_t kBytes = 256 + 64;  // then a plane: bit k is bit 4 of line k
  static constexpr int kLargest = 31;
  static constexpr bool kIsSigned = false;
  static WAZN_INLINE void lines(const uint8_t* p, int i, Bytes (&w)[2]) {
    Unsigned4::lines(p, i, w);
    const Bytes plane = load_line(p + 256);
    for (int l = 0; l < 2; ++l) w[l] = with(w[l], bits(plane, 2 * i + l, 1, 4));
  }
};
struct Unsigned6 {  // of four lines, three in low bits; above them two bits each of the fourth
  static constexpr int64_t kBytes = 256 + 128;
  static constexpr int kLargest = 63;
  static constexpr bool kIsSigned = false;
  static WAZN_INLINE void lines(const uint8_t* p, int i, Bytes (&w)[2]) {
    p += 192 * (i / 2);
    const Bytes x[3] = {load_line(p), load_line(p + 64), load_line(p + 128)};
    if (i % 2 == 0) {
      for (int l = 0; l < 2; ++l) w[l] = bits(x[l], 0, 6, 0);
    } else {
      w[0] = bits(x[2], 0, 6, 0);
      w[1] = bits(x[0], 6, 2, 0);
      for (int k = 1; k < 3; ++k) w[1] = with(w[1], bits(x[k], 6, 2, 2 * k));
    }
  }
};
struct Signed8 {
  static constexpr int64_t kBytes = 512;
  static constexpr int kLargest = 127;
  static constexpr bool kIsSigned = true;
  static WAZN_INLINE void lines(const uint8_t* p, int i, Bytes (&w)[2]) {
    for (int l = 0; l < 2; ++l) w[l] = load_line(p + 128 * i + 64 * l);
  }
};
template <const int8_t* kTable, int kLargest_, bool kIsSigned_>
struct Codebook4 {
  static constexpr int64_t kBytes = 256;
  static constexpr int kLargest = kLargest_;
  static constexpr bool kIsSigned = kIsSigned_;
  static WAZN_INLINE void lines(const uint8_t* p, int i, Bytes (&w)[2]) {
    Unsigned4::lines(p, i, w);
    for (int l = 0; l < 2; ++l) w[l] = look_up(kTable, w[l]);
  }
};

enum class Scale { kF16, kPowerOfTwo };

// Every format: value = scale * (code - kOffset) (+ min), with a scale and a min of 16 rows for
// each group of kGroup columns. Its Span is where codes, `scales` and mins of 32-column blocks are:
// of the 8 blocks of a panel from `first` on, a multiple of 8.
template <class C, int kOffset_, bool kMin, Scale kScale = Scale::kF16>
struct Block32 {
  using Codec = C;
  static constexpr int64_t kSpan = 32;
  static constexpr int kGroup = 32, kGroups = 1;  // groups in 32 columns
  static constexpr int kOffset = kOffset_;
  static constexpr bool kHasMin = kMin;
  static constexpr int64_t kScaleBytes = kScale == Scale::kF16 ? 32 : 16;
  static constexpr int64_t kBytes = C::kBytes + kScaleBytes + (kMin ? 32 : 0);

  struct Span {
    const uint8_t* data;

    WAZN_INLINE Span(const uint8_t* panel, int64_t first) : data(panel + first * kBytes) {}
    WAZN_INLINE const uint8_t* codes(int64_t block) const { return data + block * kBytes; }
    WAZN_INLINE void scales(int64_t block, Floats (&d)[1], Floats (&m)[1]) const {
      const uint8_t* p = codes(block) + C::kBytes;
      d[0] = kScale == Scale::kF16 ? load_f16((const uint16_t*)p) : load_e8m0_half(p);
      if constexpr (kMin) m[0] = load_f16((const uint16_t*)(p + 32));
    }
  };
};

WAZN_INLINE Floats negated(Floats x) { return mul(x, splat(-1.0f)); }

enum class SubScale { kUnsigned, kSigned, kSixBits };

// scale = super-scale * sub-scale, min = -super-min * sub-min.
template <class C, int kSubBlocks, int kOffset_, bool kMin, SubScale kSub>
struct Block256 {
  using Codec = C;
  static constexpr int64_t kSpan = 256;
  static constexpr int kGroup = 256 / kSubBlocks, kGroups = 32 / kGroup;
  static constexpr int kOffset = kOffset_;
  static constexpr bool kHasMin = kMin;
  static constexpr int64_t kCodeBytes = 8 * C::kBytes;
  static constexpr int kKinds = kMin ? 2 : 1;                    // scales and, perhaps, mins
  static constexpr int64_t kSubBytes = kPanelRows * kSubBlocks;  // of a kind, a byte each
  static constexpr bool kIsPacked = kSub == SubScale::kSixBits;
  static constexpr int64_t kSubsBytes = kKinds * kSubBytes * (kIsPacked ? 6 : 8) / 8;
  static constexpr int64_t kBytes = kCodeBytes + kSubsBytes + kKinds * 2 * kPanelRows;

  struct Span {
    const uint8_t* data;
    Floats super_scale, super_min;  // the latter negated
    uint8_t unpacked[kIsPacked ? kKinds * kSubBytes : 1];

    WAZN_INLINE Span(const uint8_t* panel, int64_t first) : data(panel + first / 8 * kBytes) {
      super_scale = super(0);
      if constexpr (kMin) super_min = negated(super(1));
      if constexpr (kIsPacked) {
        static_assert(sizeof(unpacked) == 4 * 64);  // the lines that Unsigned6 reads
        for (int i = 0; i < 2; ++i) {
          Bytes lines[2];
          Unsigned6::lines(data + kCodeBytes, i, lines);
          for (int l = 0; l < 2; ++l) store_line(unpacked + 128 * i + 64 * l, lines[l]);
        }
      }
    }
    // The super-scale, or the super-min.
    WAZN_INLINE Floats super(int i) const {
      return load_f16((const uint16_t*)(data + kCodeBytes + kSubsBytes) + kPanelRows * i);
    }
    WAZN_INLINE const uint8_t* codes(int64_t block) const { return data + block * C::kBytes; }
    WAZN_INLINE const uint8_t* sub(int64_t block) const {
      return (kIsPacked ? unpacked : data + kCodeBytes) + kPanelRows * kGroups * block;
    }
    WAZN_INLINE void scales(int64_t block, Floats (&d)[kGroups], Floats (&m)[kGroups]) const {
      constexpr bool kIsSigned = kSub == SubScale::kSigned;
      for (int g = 0; g < kGroups; ++g) {
        const uint8_t* p = sub(block) + kPanelRows * g;
        d[g] = mul(super_scale, kIsSigned ? load_signed((const int8_t*)p) : load_unsigned(p));
        if constexpr (kMin) m[g] = mul(super_min, load_unsigned(p + kSubBytes));
      }
    }
    // For products, which multiply by the sub-scales of 16 columns in integers.
    WAZN_INLINE const int8_t* sub_scales(int64_t block) const { return (const int8_t*)sub(block); }
  };
};

// Integers of a checkpoint: value = scale * (code - zero), with a float32 scale and an integer zero
// for each kSpan columns. Products take the zero for a min; dequantising subtracts it first, which
// rounds once.
template <class C, int64_t kSpan_>
struct Integers {
  using Codec = C;
  static constexpr int64_t kSpan = kSpan_;
  static constexpr int kGroup = 32, kGroups = 1;
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = true;
  static constexpr int64_t kBlocks = kSpan / 32;
  static constexpr int64_t kCodeBytes = kBlocks * C::kBytes;
  static constexpr int64_t kBytes = kCodeBytes + 5 * kPanelRows;

  struct Span {
    const uint8_t* data;

    WAZN_INLINE Span(const uint8_t* panel, int64_t first)
        : data(panel + first / kBlocks * kBytes) {}
    WAZN_INLINE const uint8_t* codes(int64_t block) const {
      return data + block / kBlocks * kBytes + block % kBlocks * C::kBytes;
    }
    WAZN_INLINE const uint8_t* scale(int64_t block) const {
      return data + block / kBlocks * kBytes + kCodeBytes;
    }
    WAZN_INLINE Floats zeros(int64_t block) const {
      const uint8_t* p = scale(block) + 4 * kPanelRows;
      return C::kIsSigned ? load_signed((const int8_t*)p) : load_unsigned(p);
    }
    WAZN_INLINE void scales(int64_t block, Floats (&d)[1], Floats (&m)[1]) const {
      d[0] = load((const float*)scale(block));
      m[0] = negated(mul(d[0], zeros(block)));
    }
  };
};
template <class F>
constexpr bool kHasZero = false;
template <class C, int64_t kSpan>
constexpr bool kHasZero<Integers<C, kSpan>> = true;

using Q4_0 = Block32<Unsigned4, 8, false>;
using Q4_1 = Block32<Unsigned4, 0, true>;
using Q5_0 = Block32<Unsigned5, 16, false>;
using Q5_1 = Block32<Unsigned5, 0, true>;
using Q8_0 = Block32<Signed8, 0, false>;
using IQ4_NL = Block32<Codebook4<kIq4Codes, 127, true>, 0, false>;
using MXFP4 = Block32<Codebook4<kMxfp4Codes, 24, false>, 12, false, Scale::kPowerOfTwo>;
using Q2_K = Block256<Unsigned4, 16, 0, true, SubScale::kUnsigned>;
using Q3_K = Block256<Unsigned4, 16, 4, false, SubScale::kSigned>;
using Q4_K = Block256<Unsigned4, 8, 0, true, SubScale::kSixBits>;
using Q5_K = Block256<Unsigned5, 8, 0, true, SubScale::kSixBits>;
using Q6_K = Block256<Unsigned6, 16, 32, false, SubScale::kSigned>;
using IQ4_XS = Block256<Codebook4<kIq4Codes, 127, true>, 8, 0, false, SubScale::kSigned>;
using INT4 = Integers<Unsigned4, 32>;
using INT4_128 = Integers<Unsigned4, 128>;
using INT8 = Integers<Signed8, 32>;
using INT8_128 = Integers<Signed8, 128>;

struct F32 {
  static constexpr int64_t kBytes = 4 * kPanelRows;
  static WAZN_INLINE Floats read(const uint8_t* p) { return load((const float*)p); }
};
struct F16 {
  static constexpr int64_t kBytes = 2 * kPanelRows;
  static WAZN_INLINE Floats read(const uint8_t* p) { return load_f16((const uint16_t*)p); }
};
struct BF16 {
  static constexpr int64_t kBytes = 2 * kPanelRows;
  static WAZN_INLINE Floats read(const uint8_t* p) { return load_bf16((const uint16_t*)p); }
};

// How many lines of products of int8 and codes less their offset add up in int16, four columns
// each, two of either half; 0 of signed codes.
template <class C, int kOffset>
constexpr int lines_in_int16() {
  if (C::kIsSigned) return 0;
  const int largest = kOffset > C::kLargest - kOffset ? kOffset : C::kLargest - kOffset;
  return 2 * 8 * 127 * largest <= 32767 ? 8 : 4;
}

// What the arithmetic on unpacked codes depends on; formats that agree share its code.
template <int kDepth_, int kGroups_, bool kHasMin_, int kOffset_>
struct Shape {
  static constexpr int kDepth = kDepth_;    // lines_in_int16
  static constexpr int kGroups = kGroups_;  // with a sub-scale each, if there are two
  static constexpr bool kHasMin = kHasMin_;
  static constexpr int kOffset = kOffset_;
};

template <wazn::Layout kLayout>
struct FormatOf;
#define WAZN_FORMAT(name)                  \
  template <>                              \
  struct FormatOf<wazn::Layout::k##name> { \
    using Type = name;                     \
  };
WAZN_FORMAT(F32)
WAZN_FORMAT(F16)
WAZN_FORMAT(BF16)
WAZN_FORMAT(Q4_0)
WAZN_FORMAT(Q4_1)
WAZN_FORMAT(Q5_0)
WAZN_FORMAT(Q5_1)
WAZN_FORMAT(Q8_0)
WAZN_FORMAT(IQ4_NL)
WAZN_FORMAT(MXFP4)
WAZN_FORMAT(Q2_K)
WAZN_FORMAT(Q3_K)
WAZN_FORMAT(Q4_K)
WAZN_FORMAT(Q5_K)
WAZN_FORMAT(Q6_K)
WAZN_FORMAT(IQ4_XS)
WAZN_FORMAT(INT4)
WAZN_FORMAT(INT4_128)
WAZN_FORMAT(INT8)
WAZN_FORMAT(INT8_128)
#undef WAZN_FORMAT

// Calls f.template operator()<Format>() if `layout` is one of kLayouts.
template <wazn::Layout... kLayouts, class F>
WAZN_INLINE void with_one_of(wazn::Layout layout, F&& f) {
  ((layout == kLayouts ? f.template operator()<typename FormatOf<kLayouts>::Type>() : void()), ...);
}
template <class F>
WAZN_INLINE void with_float_format(wazn::Layout layout, F&& f) {
  using enum wazn::Layout;
  with_one_of<kF32, kF16, kBF16>(layout, f);
}
// Formats whose codes are 4-bit integers, and the others: two parts of about equal size to compile.
template <class F>
WAZN_INLINE void with_4bit_format(wazn::Layout layout, F&& f) {
  using enum wazn::Layout;
  with_one_of<kQ4_0, kQ4_1, kQ2_K, kQ3_K, kQ4_K, kINT4, kINT4_128>(layout, f);
}
template <class F>
WAZN_INLINE void with_other_format(wazn::Layout layout, F&& f) {
  using enum wazn::Layout;
  with_one_of<kQ5_0, kQ5_1, kQ8_0, kIQ4_NL, kMXFP4, kQ5_K, kQ6_K, kIQ4_XS, kINT8, kINT8_128>(layout,
                                                                                             f);
}
template <class F>
WAZN_INLINE void with_format(wazn::Layout layout, F&& f) {
  with_4bit_format(layout, f);
  with_other_format(layout, f);
}

// 32 columns of a panel as floats [32][16 rows]: exactly the values of the file. Products and sums
// are separate operations, as in the reference.
template <class F>
void dequantize_32(const uint8_t* panel, int64_t b, float* out) {
  const typename F::Span span(panel, b & ~int64_t{7});
  const int64_t block = b % 8;
  Floats d[F::kGroups], m[F::kGroups];
  span.scales(block, d, m);
  for (int i = 0; i < 4; ++i) {
    Bytes w[2];
    F::Codec::lines(span.codes(block), i, w);
    for (int l = 0; l < 2; ++l)
      for (int k = 0; k < 4; ++k) {
        const int half = k / 2, column = 16 * half + 2 * (2 * i + l) + k % 2;
        const int group = F::kGroups == 2 ? half : 0;
        Floats code = byte_to_floats(w[l], k, F::Codec::kIsSigned);
        if constexpr (F::kOffset != 0) code = sub(code, splat(float(F::kOffset)));
        if constexpr (kHasZero<F>) code = sub(code, span.zeros(block));
        Floats value = mul(d[group], code);
        if constexpr (F::kHasMin && !kHasZero<F>) value = add(value, m[group]);
        store(out + column * kPanelRows, value);
      }
  }
}

}  // namespace
