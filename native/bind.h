// The parts of the Python module wazn.native._core that have files of their own.
#pragma once

#include <nanobind/nanobind.h>

namespace wazn {

void bind_sampler(nanobind::module_& m);

}  // namespace wazn
