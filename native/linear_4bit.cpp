// Products of 8-bit activations with formats whose codes are 4-bit integers.
#include "linear.h"

namespace wazn::WAZN_ISA {

void linear_4bit(const Matrix& w, const Codes8* x, int64_t rows, int64_t first, int64_t last,
                 const Output& out, uint8_t* scratch) {
  with_4bit_format(w.layout,
                   [&]<class F>() { linear_rows<F>(w, x, rows, first, last, out, scratch); });
}

}  // namespace wazn::WAZN_ISA
