// What the driver reads of a case, and the kernels it tries.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "kernels.h"

#define WAZN_TABLE_(isa) wazn::isa##_kernels
#define WAZN_TABLE(isa) WAZN_TABLE_(isa)

namespace {

using Data = std::vector<uint8_t>;

const wazn::Kernels& kernels() { return *WAZN_TABLE(WAZN_ISA)(); }

struct Case {
  int64_t operation;
  std::vector<int64_t> parameters;
  std::vector<Data> arrays;

  int64_t operator[](int i) const { return parameters.at(i); }
  template <class T>
  const T* array(int i) const {
    return (const T*)arrays.at(i).data();
  }
  float number(int i) const { return *array<float>(i); }
};

template <class T>
void append(Data& out, const T* values, int64_t count) {
  const uint8_t* bytes = (const uint8_t*)values;
  out.insert(out.end(), bytes, bytes + count * sizeof(T));
}

uint8_t* scratch() {
  static uint8_t* memory = (uint8_t*)std::aligned_alloc(64, 1 << 24);
  return memory;
}

}  // namespace
