// Products of 8-bit activations with the other quantised formats.
#include "linear.h"

namespace wazn::WAZN_ISA {

void linear_other(const Matrix& w, const Codes8* x, int64_t rows, int64_t first, int64_t last,
                  const Output& out, uint8_t* scratch) {
  with_other_format(w.layout,
                    [&]<class F>() { linear_rows<F>(w, x, rows, first, last, out, scratch); });
}

}  // namespace wazn::WAZN_ISA
