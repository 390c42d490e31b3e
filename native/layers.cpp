// Compiled once per instruction set, as kernels.cpp, and by its rules.
#pragma GCC diagnostic ignored "-Wunused-function"  // of the headers, kernels.cpp takes the rest
#include "compress.h"
#include "delta.h"
#include "gates.h"
#include "latent.h"
#include "scale.h"

namespace wazn {

#define WAZN_LAYERS_(isa) isa##_layers
#define WAZN_LAYERS(isa) WAZN_LAYERS_(isa)

const LayerKernels* WAZN_LAYERS(WAZN_ISA)() {
  static const LayerKernels table = {
      append_latent, attend_latent, index_scores, pool,        clamp,       scale,     geglu,
      clamped_glu,   layer_norm,    causal_conv,  unit_length, delta_gates, delta_rule};
  return &table;
}

}  // namespace wazn
