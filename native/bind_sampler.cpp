// The sampler as a part of the Python module wazn.native._core.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bind.h"
#include "machine.h"
#include "random.h"
#include "sampler.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace wazn {
namespace {

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
std::vector<T> to_vector(const Vector<T>& values) {
  return std::vector<T>(values.data(), values.data() + values.size());
}

template <class T>
nb::ndarray<nb::numpy, T> to_array(const std::vector<T>& values) {
  T* out = new T[values.size()];
  std::copy(values.begin(), values.end(), out);
  nb::capsule owner(out, [](void* p) noexcept { delete[] (T*)p; });
  return nb::ndarray<nb::numpy, T>(out, {values.size()}, owner);
}

// Calls work without the interpreter's lock; BrokenLogits becomes FloatingPointError.
template <class Work>
auto released(const Work& work) {
  try {
    nb::gil_scoped_release release;
    return work();
  } catch (const BrokenLogits& error) {
    PyErr_SetString(PyExc_FloatingPointError, error.what());
    throw nb::python_error();
  }
}

// (id, None), or (id, (logprob, [(id, logprob), ...])) where log probabilities are wanted.
nb::tuple to_tuple(const Choice& choice, bool has_logprobs) {
  if (!has_logprobs) return nb::make_tuple(choice.id, nb::none());
  nb::list top;
  for (const auto& [id, logprob] : choice.top) top.append(nb::make_tuple(id, logprob));
  return nb::make_tuple(choice.id, nb::make_tuple(choice.logprob, top));
}

nb::list sample(Sampler& sampler, Rows logits, const std::vector<const SamplingState*>& states) {
  if (logits.shape(0) != states.size() || logits.shape(1) < 1 || logits.shape(1) > INT32_MAX)
    throw std::invalid_argument("sampling takes a row of logits for each state");
  for (const SamplingState* state : states)
    if (state == nullptr) throw std::invalid_argument("a state is None");
  const std::vector<Choice> choices =
      released([&] { return sampler.sample(logits.data(), logits.shape(1), states); });
  nb::list result;
  for (size_t row = 0; row < choices.size(); ++row)
    result.append(to_tuple(choices[row], states[row]->num_top() >= 0));
  return result;
}

nb::tuple candidates(Sampler& sampler, Vector<float> logits, const SamplingState& state) {
  if (logits.size() < 1 || logits.size() > INT32_MAX)
    throw std::invalid_argument("sampling takes a row of logits");
  const Candidates found =
      released([&] { return sampler.candidates(logits.data(), logits.size(), state); });
  return nb::make_tuple(to_array(found.ids), to_array(found.weights));
}

}  // namespace

void bind_sampler(nb::module_& m) {
  m.def("uniform", &uniform, "seed"_a, "stream"_a, "position"_a);

  nb::class_<Sampling>(m, "Sampling")
      .def(
          "__init__",
          [](Sampling* self, double temperature, int64_t top_k, double top_p, double min_p,
             double typical_p, double repetition, double presence, double frequency) {
            new (self)
                Sampling{temperature,       top_p,           typical_p,       top_k, (float)min_p,
                         (float)repetition, (float)presence, (float)frequency};
          },
          nb::kw_only(), "temperature"_a, "top_k"_a, "top_p"_a, "min_p"_a, "typical_p"_a,
          "repetition_penalty"_a, "presence_penalty"_a, "frequency_penalty"_a);

  nb::class_<Stream>(m, "Stream")
      .def(
          "__init__",
          [](Stream* self, uint64_t seed, uint64_t stream, int64_t position) {
            new (self) Stream{seed, stream, position};
          },
          "seed"_a, "stream"_a, "position"_a);

  nb::class_<SpecialIds>(m, "SpecialIds")
      .def(
          "__init__",
          [](SpecialIds* self, Vector<int32_t> prompt, Vector<int32_t> biased, Vector<float> biases,
             Vector<int32_t> barred, int64_t min_tokens) {
            new (self) SpecialIds{to_vector(prompt), to_vector(biased), to_vector(barred),
                                  to_vector(biases), min_tokens};
          },
          nb::kw_only(), "prompt"_a, "biased"_a, "biases"_a, "barred"_a, "min_tokens"_a);

  nb::class_<SamplingState>(m, "SamplingState")
      .def(nb::init<const Sampling&, const Stream&, SpecialIds, int>(), "sampling"_a, "stream"_a,
           "ids"_a, "num_top"_a)
      .def("observe", &SamplingState::observe, "token_id"_a);

  nb::class_<Sampler>(m, "Sampler")
      .def(
          "__init__",
          [](Sampler* self, std::shared_ptr<Pool> pool, const std::string& isa) {
            new (self) Sampler(kernels_for(isa), std::move(pool));
          },
          "pool"_a, "isa"_a)
      .def("sample", &sample, "logits"_a, "states"_a)
      .def("candidates", &candidates, "logits"_a, "state"_a);
}

}  // namespace wazn
