// Products of 16-bit activations with every quantised format.
#include "linear.h"

namespace wazn::WAZN_ISA {

void linear_wide(const Matrix& w, const Codes16* x, int64_t rows, int64_t first, int64_t last,
                 const Output& out, uint8_t* scratch) {
  with_format(w.layout, [&]<class F>() { linear_rows<F>(w, x, rows, first, last, out, scratch); });
}

}  // namespace wazn::WAZN_ISA
