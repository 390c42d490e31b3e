// Operations of compressed keys and of several streams as methods of the Python class Program.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "bind_program.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace wazn {
namespace {

struct Pooling {
  int64_t store, rate;
  bool overlaps;
};

// Compresses columns of values to rows of a store, and keeps what the next step needs.
void add_compress(Program& program, int values, int gates, const Pooling& pooling,
                  FloatVector biases, FloatVector weight, float eps, int64_t rotated,
                  int64_t table) {
  const int64_t columns = program.width(checked(program, values)), rate = pooling.rate;
  const int64_t latent = pooling.overlaps ? columns / 2 : columns;
  checked(program, gates, columns);
  require(rate > 0 && (!pooling.overlaps || columns % 2 == 0) && table >= 0 && table < 8,
          "so many rows cannot be compressed");
  require((int64_t)biases.size() == rate * columns && (int64_t)weight.size() == latent,
          "biases or weights of compressed rows have the wrong length");
  require(rotated >= 2 && rotated % 2 == 0 && rotated <= latent, "there is no such rotation");
  const int64_t kept = pooling.overlaps ? 2 * rate : rate;
  const int64_t state = program.add_state(kept * 2 * columns);
  program.add(Compress{values,
                       gates,
                       checked_store(program, pooling.store),
                       state,
                       rate,
                       pooling.overlaps,
                       latent_shape(program, latent, 0),
                       to_floats(biases),
                       to_floats(weight),
                       eps,
                       {1, latent, rotated, true, false},
                       table});
  program.add(KeepRows{values, gates, state, kept});
}

void add_repeat(Program& program, int in, int out) {
  require(program.width(checked(program, out)) % program.width(checked(program, in)) == 0,
          "streams are as wide as what they begin as");
  program.add(Repeat{in, out});
}

void add_hyper_weights(Program& program, int x, int64_t streams, int64_t iterations,
                       FloatVector scales, FloatVector biases, float eps) {
  const int64_t count = program.width(checked(program, x));
  const bool is_all = count == (2 + streams) * streams;
  require(streams > 0 && iterations > 0 && (is_all || count == streams) &&
              (int64_t)biases.size() == count && (int64_t)scales.size() == (is_all ? 3 : 1),
          "weights, scales and biases do not fit the streams");
  program.add(HyperWeights{x, streams, iterations, to_floats(scales), to_floats(biases), eps});
}

void check_streams(Program& program, int streams, int weights, int one, bool mixes) {
  const int64_t columns = program.width(checked(program, one));
  const int64_t n = program.width(checked(program, streams)) / columns;
  require(program.width(streams) == n * columns, "streams are as wide as a sublayer");
  require(program.width(checked(program, weights)) >= (mixes ? (2 + n) * n : n),
          "every stream has its weights");
}

}  // namespace

void bind_streams(nb::class_<Program>& program) {
  program
      .def("compress",
           [](Program& p, int values, int gates, int64_t store, int64_t rate, bool overlaps,
              FloatVector biases, FloatVector weight, float eps, int64_t rotated, int64_t table) {
             add_compress(p, values, gates, {store, rate, overlaps}, biases, weight, eps, rotated,
                          table);
           })
      .def("repeat", &add_repeat)
      .def("hyper_weights", &add_hyper_weights)
      .def("collapse",
           [](Program& p, int streams, int weights, int out) {
             check_streams(p, streams, weights, out, false);
             p.add(Collapse{streams, weights, out});
           })
      .def("expand", [](Program& p, int streams, int weights, int in) {
        check_streams(p, streams, weights, in, true);
        p.add(Expand{streams, weights, in});
      });
}

}  // namespace wazn
