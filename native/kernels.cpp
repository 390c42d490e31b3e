// Compiled once per instruction set (WAZN_ISA names the table). Includes no standard library: an
// inline function emitted here for a wide CPU must never be linked into code for a narrow one.
#include "attention.h"
#include "linear_float.h"
#include "logits.h"
#include "rows.h"

namespace wazn {
namespace {

void linear(const Matrix& w, const Activation& x, int64_t rows, int64_t first, int64_t last,
            const Output& out, uint8_t* scratch) {
  if (w.layout <= Layout::kBF16) return linear_floats(w, x, rows, first, last, out, scratch);
  if (x.bits == 16) return WAZN_ISA::linear_wide(w, x.wide_codes, rows, first, last, out, scratch);
  WAZN_ISA::linear_4bit(w, x.codes, rows, first, last, out, scratch);
  WAZN_ISA::linear_other(w, x.codes, rows, first, last, out, scratch);
}

}  // namespace

#define WAZN_TABLE_(isa) isa##_kernels
#define WAZN_TABLE(isa) WAZN_TABLE_(isa)
#define WAZN_LAYERS_(isa) isa##_layers()
#define WAZN_LAYERS(isa) WAZN_LAYERS_(isa)
#define WAZN_STRING_(isa) #isa
#define WAZN_STRING(isa) WAZN_STRING_(isa)

const Kernels* WAZN_TABLE(WAZN_ISA)() {
  static const Kernels table = {WAZN_STRING(WAZN_ISA),
                                kTile,
                                linear,
                                linear_exact,
                                dequantize_row,
                                quantize,
                                quantize_wide,
                                rms_norm,
                                swiglu,
                                sigmoid,
                                gate,
                                sqrt_softplus,
                                softmax,
                                add_scaled,
                                rope,
                                append_kv,
                                attend,
                                merge_parts,
                                WAZN_LAYERS(WAZN_ISA),
                                block_peaks,
                                weigh_logits};
  return &table;
}

}  // namespace wazn
