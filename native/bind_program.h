// What the parts of the binding of programs share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "program.h"

namespace wazn {

void bind_experts(nanobind::class_<Program>& program);
void bind_layers(nanobind::class_<Program>& program);
void bind_streams(nanobind::class_<Program>& program);

using FloatVector =
    nanobind::ndarray<const float, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

inline std::vector<float> to_floats(FloatVector values) {
  return std::vector<float>(values.data(), values.data() + values.size());
}

inline void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

inline int64_t checked_store(const Program& program, int64_t store) {
  require(store >= 0 && store < program.num_stores(), "there is no such store");
  return store;
}

// Of rows in the program's KV format.
inline LatentShape latent_shape(const Program& program, int64_t latent, int64_t rotary) {
  require(latent > 0 && latent % 16 == 0 && rotary >= 0,
          "cached rows take a latent size that is a multiple of 16");
  return {latent, rotary, program.kv().format};
}

// The same id, if there is such a buffer and its rows have so many numbers.
inline BufferId checked(Program& program, int id, int64_t columns = -1) {
  if (id < 0 || id >= program.num_buffers())
    throw std::invalid_argument("there is no buffer " + std::to_string(id));
  if (columns >= 0 && program.width(id) != columns)
    throw std::invalid_argument("buffer " + std::to_string(id) + " has " +
                                std::to_string(program.width(id)) + " columns, not " +
                                std::to_string(columns));
  return id;
}

}  // namespace wazn
