#include "pack.h"

#include <cstring>

namespace wazn {
namespace {

constexpr int64_t R = kPanelRows;

// Readers of the file's blocks. `codes` gives 32 unsigned or signed codes of 32-column block b;
// 256-column formats also give their sub-scales and sub-mins as bytes.

struct RawQ4 {  // nibbles: columns 0..15 low, 16..31 high
  static void nibbles(const uint8_t* q, uint8_t* out) {
    for (int i = 0; i < 16; ++i) {
      out[i] = q[i] & 15;
      out[i + 16] = q[i] >> 4;
    }
  }
};
template <int64_t kHeader>
struct RawNibbles {
  static constexpr FormatSize kSize{32, kHeader + 16};
  static constexpr int64_t kScale = 0, kMin = 2;
  static void codes(const uint8_t* p, int, uint8_t* out) { RawQ4::nibbles(p + kHeader, out); }
};
template <int64_t kHeader>
struct RawQ5 {
  static constexpr FormatSize kSize{32, kHeader + 20};
  static constexpr int64_t kScale = 0, kMin = 2;
  static void codes(const uint8_t* p, int, uint8_t* out) {
    RawQ4::nibbles(p + kHeader + 4, out);
    uint32_t high;
    std::memcpy(&high, p + kHeader, 4);
    for (int i = 0; i < 32; ++i) out[i] |= (high >> i & 1) << 4;
  }
};
struct RawQ8 {
  static constexpr FormatSize kSize{32, 34};
  static constexpr int64_t kScale = 0, kMin = 0;
  static void codes(const uint8_t* p, int, uint8_t* out) { std::memcpy(out, p + 2, 32); }
};
struct RawQ2K {
  static constexpr FormatSize kSize{256, 84};
  static constexpr int64_t kScale = 80, kMin = 82;
  static void codes(const uint8_t* p, int b, uint8_t* out) {
    const uint8_t* q = p + 16 + b / 4 * 32;
    for (int i = 0; i < 32; ++i) out[i] = q[i] >> (2 * (b % 4)) & 3;
  }
  static void subs(const uint8_t* p, uint8_t* scales, uint8_t* mins) {
    for (int i = 0; i < 16; ++i) {
      scales[i] = p[i] & 15;
      mins[i] = p[i] >> 4;
    }
  }
};
struct RawQ3K {
  static constexpr FormatSize kSize{256, 110};
  static constexpr int64_t kScale = 108, kMin = 0;
  static void codes(const uint8_t* p, int b, uint8_t* out) {
    const uint8_t* q = p + 32 + b / 4 * 32;
    for (int i = 0; i < 32; ++i) out[i] = (q[i] >> (2 * (b % 4)) & 3) | (p[i] >> b & 1) << 2;
  }
  static void subs(const uint8_t* p, uint8_t* scales, uint8_t*) {
    const uint8_t* s = p + 96;
    for (int i = 0; i < 16; ++i) {
      const int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
      scales[i] = (uint8_t)((low | (s[8 + i % 4] >> (2 * (i / 4)) & 3) << 4) - 32);
    }
  }
};
// Six-bit scales and mins of Q4_K and Q5_K: eight of each in twelve bytes.
void six_bit_subs(const uint8_t* s, uint8_t* scales, uint8_t* mins) {
  for (int i = 0; i < 4; ++i) {
    scales[i] = s[i] & 63;
    mins[i] = s[i + 4] & 63;
    scales[i + 4] = (s[i + 8] & 15) | (s[i] >> 6) << 4;
    mins[i + 4] = s[i + 8] >> 4 | (s[i + 4] >> 6) << 4;
  }
}
template <int64_t kNibbles>
struct RawQ4K {
  static constexpr FormatSize kSize{256, kNibbles + 128};
  static constexpr int64_t kScale = 0, kMin = 2;
  static void codes(const uint8_t* p, int b, uint8_t* out) {
    const uint8_t* q = p + kNibbles + b / 2 * 32;
    for (int i = 0; i < 32; ++i) out[i] = q[i] >> (4 * (b % 2)) & 15;
  }
  static void subs(const uint8_t* p, uint8_t* scales, uint8_t* mins) {
    six_bit_subs(p + 4, scales, mins);
  }
};
struct RawQ5K : RawQ4K<48> {
  static void codes(const uint8_t* p, int b, uint8_t* out) {
    RawQ4K<48>::codes(p, b, out);
    for (int i = 0; i < 32; ++i) out[i] |= (p[16 + i] >> b & 1) << 4;
  }
};
struct RawQ6K {
  static constexpr FormatSize kSize{256, 210};
  static constexpr int64_t kScale = 208, kMin = 0;
  static void codes(const uint8_t* p, int b, uint8_t* out) {
    const int half = b / 4, quarter = b % 4;
    const uint8_t* low = p + half * 64 + quarter % 2 * 32;
    const uint8_t* high = p + 128 + half * 32;
    for (int i = 0; i < 32; ++i)
      out[i] = (low[i] >> (4 * (quarter / 2)) & 15) | (high[i] >> (2 * quarter) & 3) << 4;
  }
  static void subs(const uint8_t* p, uint8_t* scales, uint8_t*) {
    std::memcpy(scales, p + 192, 16);
  }
};
struct RawIQ4XS {
  static constexpr FormatSize kSize{256, 136};
  static constexpr int64_t kScale = 0, kMin = 0;
  static void codes(const uint8_t* p, int b, uint8_t* out) { RawQ4::nibbles(p + 8 + 16 * b, out); }
  static void subs(const uint8_t* p, uint8_t* scales, uint8_t*) {
    const int high = p[2] | p[3] << 8;
    for (int i = 0; i < 8; ++i) {
      const int low = p[4 + i / 2] >> (4 * (i % 2)) & 15;
      scales[i] = (uint8_t)((low | (high >> (2 * i) & 3) << 4) - 32);
    }
  }
};

// Puts a number of six bits into one of four lines of 64 bytes that lie in three (see formats.h).
void put_six_bits(uint8_t number, int line, int64_t lane, uint8_t* out) {
  if (line < 3)
    out[64 * line + lane] |= number;
  else
    for (int part = 0; part < 3; ++part) out[64 * part + lane] |= (number >> (2 * part) & 3) << 6;
}

// Puts one row's 32 codes into its place among 16 rows.
void put_codes(int bits, const uint8_t* codes, int64_t row, uint8_t* out) {
  for (int k = 0; k < 32; ++k) {
    const int line = k % 16 / 2;  // its four columns are two of each half
    const int64_t lane = row * 4 + k / 16 * 2 + k % 2;
    if (bits == 8) {
      out[64 * line + lane] = codes[k];
    } else if (bits == 6) {
      put_six_bits(codes[k], line % 4, lane, out + 192 * (line / 4));
    } else {
      out[64 * (line / 2) + lane] |= (codes[k] & 15) << (4 * (line % 2));
      if (bits == 5) out[256 + lane] |= (codes[k] >> 4) << line;
    }
  }
}

constexpr int64_t code_bytes(int bits) { return 64 * bits; }

template <class Raw>
void pack_32(int bits, bool min, bool power_of_two, const uint8_t* raw, int64_t rows,
             int64_t columns, uint8_t* panel) {
  const int64_t scale_bytes = power_of_two ? 1 : 2, blocks = columns / 32;
  const int64_t bytes = code_bytes(bits) + R * (scale_bytes + (min ? 2 : 0));
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* source = raw + (r * blocks + b) * Raw::kSize.bytes;
      uint8_t* out = panel + b * bytes;
      uint8_t codes[32];
      Raw::codes(source, 0, codes);
      put_codes(bits, codes, r, out);
      uint8_t* scales = out + code_bytes(bits);
      std::memcpy(scales + r * scale_bytes, source + Raw::kScale, scale_bytes);
      if (min) std::memcpy(scales + 32 + 2 * r, source + Raw::kMin, 2);
    }
}

template <class Raw>
void pack_256(int bits, int subs, int sub_bits, bool min, const uint8_t* raw, int64_t rows,
              int64_t columns, uint8_t* panel) {
  const int64_t blocks = columns / 256, kinds = min ? 2 : 1;
  const int64_t sub_bytes = kinds * R * subs * sub_bits / 8;
  const int64_t bytes = 8 * code_bytes(bits) + sub_bytes + kinds * R * 2;
  for (int64_t i = 0; i < blocks; ++i)
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* source = raw + (r * blocks + i) * Raw::kSize.bytes;
      uint8_t* out = panel + i * bytes;
      uint8_t codes[32], numbers[2][16];  // sub-scales and sub-mins
      for (int b = 0; b < 8; ++b) {
        Raw::codes(source, b, codes);
        put_codes(bits, codes, r, out + b * code_bytes(bits));
      }
      Raw::subs(source, numbers[0], numbers[1]);
      uint8_t* target = out + 8 * code_bytes(bits);
      for (int s = 0; s < kinds * subs; ++s) {
        const int64_t at = s * R + r;
        const uint8_t number = numbers[s / subs][s % subs];
        if (sub_bits == 6)
          put_six_bits(number, at / 64, at % 64, target);
        else
          target[at] = number;
      }
      target += sub_bytes;
      std::memcpy(target + 2 * r, source + Raw::kScale, 2);
      if (min) std::memcpy(target + 2 * R + 2 * r, source + Raw::kMin, 2);
    }
}

// Integers: a float32 scale, a zero and the codes of `span` columns, nibbles in runs of 32.
constexpr FormatSize int_block(int bits, int64_t span) { return {span, 5 + span * bits / 8}; }

constexpr int64_t int_panel_bytes(int bits, int64_t span) {
  return span / 32 * code_bytes(bits) + 5 * R;
}

void pack_integers(int bits, int64_t span, const uint8_t* raw, int64_t rows, int64_t columns,
                   uint8_t* panel) {
  const int64_t blocks = columns / span, runs = span / 32;
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* source = raw + (r * blocks + b) * int_block(bits, span).bytes;
      uint8_t* out = panel + b * int_panel_bytes(bits, span);
      for (int64_t i = 0; i < runs; ++i) {
        const uint8_t* packed = source + 5 + i * 4 * bits;
        uint8_t codes[32];
        if (bits == 4)
          RawQ4::nibbles(packed, codes);
        else
          std::memcpy(codes, packed, 32);
        put_codes(bits, codes, r, out + i * code_bytes(bits));
      }
      uint8_t* scales = out + runs * code_bytes(bits);
      std::memcpy(scales + 4 * r, source, 4);
      scales[4 * R + r] = source[4];
    }
}

void pack_floats(int64_t bytes, const uint8_t* raw, int64_t rows, int64_t columns, uint8_t* panel) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < columns; ++k)
      std::memcpy(panel + (k * R + r) * bytes, raw + (r * columns + k) * bytes, bytes);
}

}  // namespace

FormatSize file_block(Layout layout) {
  switch (layout) {
    case Layout::kF32:
      return {1, 4};
    case Layout::kF16:
    case Layout::kBF16:
      return {1, 2};
    case Layout::kQ4_0:
    case Layout::kIQ4_NL:
      return RawNibbles<2>::kSize;
    case Layout::kQ4_1:
      return RawNibbles<4>::kSize;
    case Layout::kMXFP4:
      return RawNibbles<1>::kSize;
    case Layout::kQ5_0:
      return RawQ5<2>::kSize;
    case Layout::kQ5_1:
      return RawQ5<4>::kSize;
    case Layout::kQ8_0:
      return RawQ8::kSize;
    case Layout::kQ2_K:
      return RawQ2K::kSize;
    case Layout::kQ3_K:
      return RawQ3K::kSize;
    case Layout::kQ4_K:
      return RawQ4K<16>::kSize;
    case Layout::kQ5_K:
      return RawQ5K::kSize;
    case Layout::kQ6_K:
      return RawQ6K::kSize;
    case Layout::kIQ4_XS:
      return RawIQ4XS::kSize;
    case Layout::kINT4:
      return int_block(4, 32);
    case Layout::kINT4_128:
      return int_block(4, 128);
    case Layout::kINT8:
      return int_block(8, 32);
    case Layout::kINT8_128:
      return int_block(8, 128);
  }
  return {1, 4};
}

int64_t panel_bytes(Layout layout, int64_t columns) {
  switch (layout) {
    case Layout::kF32:
      return columns * R * 4;
    case Layout::kF16:
    case Layout::kBF16:
      return columns * R * 2;
    case Layout::kQ4_0:
    case Layout::kIQ4_NL:
      return columns / 32 * (code_bytes(4) + 2 * R);
    case Layout::kQ4_1:
      return columns / 32 * (code_bytes(4) + 4 * R);
    case Layout::kMXFP4:
      return columns / 32 * (code_bytes(4) + R);
    case Layout::kQ5_0:
      return columns / 32 * (code_bytes(5) + 2 * R);
    case Layout::kQ5_1:
      return columns / 32 * (code_bytes(5) + 4 * R);
    case Layout::kQ8_0:
      return columns / 32 * (code_bytes(8) + 2 * R);
    case Layout::kQ2_K:
      return columns / 256 * (8 * code_bytes(4) + 36 * R);
    case Layout::kQ3_K:
      return columns / 256 * (8 * code_bytes(4) + 18 * R);
    case Layout::kQ4_K:
      return columns / 256 * (8 * code_bytes(4) + 16 * R);
    case Layout::kQ5_K:
      return columns / 256 * (8 * code_bytes(5) + 16 * R);
    case Layout::kQ6_K:
      return columns / 256 * (8 * code_bytes(6) + 18 * R);
    case Layout::kIQ4_XS:
      return columns / 256 * (8 * code_bytes(4) + 10 * R);
    case Layout::kINT4:
      return columns / 32 * int_panel_bytes(4, 32);
    case Layout::kINT4_128:
      return columns / 128 * int_panel_bytes(4, 128);
    case Layout::kINT8:
      return columns / 32 * int_panel_bytes(8, 32);
    case Layout::kINT8_128:
      return columns / 128 * int_panel_bytes(8, 128);
  }
  return 0;
}

void pack_panel(Layout layout, const uint8_t* raw, int64_t rows, int64_t columns, uint8_t* panel) {
  std::memset(panel, 0, panel_bytes(layout, columns));
  switch (layout) {
    case Layout::kF32:
      return pack_floats(4, raw, rows, columns, panel);
    case Layout::kF16:
    case Layout::kBF16:
      return pack_floats(2, raw, rows, columns, panel);
    case Layout::kQ4_0:
    case Layout::kIQ4_NL:
      return pack_32<RawNibbles<2>>(4, false, false, raw, rows, columns, panel);
    case Layout::kQ4_1:
      return pack_32<RawNibbles<4>>(4, true, false, raw, rows, columns, panel);
    case Layout::kMXFP4:
      return pack_32<RawNibbles<1>>(4, false, true, raw, rows, columns, panel);
    case Layout::kQ5_0:
      return pack_32<RawQ5<2>>(5, false, false, raw, rows, columns, panel);
    case Layout::kQ5_1:
      return pack_32<RawQ5<4>>(5, true, false, raw, rows, columns, panel);
    case Layout::kQ8_0:
      return pack_32<RawQ8>(8, false, false, raw, rows, columns, panel);
    case Layout::kQ2_K:
      return pack_256<RawQ2K>(4, 16, 8, true, raw, rows, columns, panel);
    case Layout::kQ3_K:
      return pack_256<RawQ3K>(4, 16, 8, false, raw, rows, columns, panel);
    case Layout::kQ4_K:
      return pack_256<RawQ4K<16>>(4, 8, 6, true, raw, rows, columns, panel);
    case Layout::kQ5_K:
      return pack_256<RawQ5K>(5, 8, 6, true, raw, rows, columns, panel);
    case Layout::kQ6_K:
      return pack_256<RawQ6K>(6, 16, 8, false, raw, rows, columns, panel);
    case Layout::kIQ4_XS:
      return pack_256<RawIQ4XS>(4, 8, 8, false, raw, rows, columns, panel);
    case Layout::kINT4:
      return pack_integers(4, 32, raw, rows, columns, panel);
    case Layout::kINT4_128:
      return pack_integers(4, 128, raw, rows, columns, panel);
    case Layout::kINT8:
      return pack_integers(8, 32, raw, rows, columns, panel);
    case Layout::kINT8_128:
      return pack_integers(8, 128, raw, rows, columns, panel);
  }
}

}  // namespace wazn
