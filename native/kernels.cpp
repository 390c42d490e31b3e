// Compiled once per instruction set (WAZN_ISA names the table). Includes no standard library: an
// inline function emitted here for a wide CPU must never be linked into code for a narrow one.
#include "attention.h"
#include "rows.h"

namespace wazn {

#define WAZN_TABLE_(isa) isa##_kernels
#define WAZN_TABLE(isa) WAZN_TABLE_(isa)
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
                                softmax,
                                add_scaled,
                                rope,
                                append_kv,
                                attend};
  return &table;
}

}  // namespace wazn
