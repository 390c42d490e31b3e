// Operations of latent and of linear attention as methods of the Python class Program.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "bind_program.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace wazn {
namespace {

int64_t add_latent_store(Program& program, int64_t latent, int64_t rotary, int64_t rate) {
  require(rate > 0 && rate <= 65536, "a row is cached for at least one position");
  return program.add_store(latent_bytes(latent_shape(program, latent, rotary)), rate);
}

void add_grouped(Program& program, int in, std::shared_ptr<Weight> weight, int out) {
  const int64_t parts = weight->count;
  checked(program, in, parts * weight->matrix.columns);
  checked(program, out, parts * weight->matrix.rows);
  require(program.copies(in) == parts || (parts == 1 && program.copies(in) == 1),
          "a product for each part reads a buffer of as many parts");
  require(program.reads_floats(*weight) || program.buffer(in).bits == 8,
          "a product of codes reads a quantised buffer");
  program.add(GroupedLinear{in, out, std::move(weight)});
}

void add_append_latent(Program& program, int latent, int rotary, int64_t store) {
  const LatentShape shape =
      latent_shape(program, program.width(checked(program, latent)),
                   rotary == kNoBuffer ? 0 : program.width(checked(program, rotary)));
  program.add(AppendLatent{latent, rotary, checked_store(program, store), shape});
}

void add_attend_latent(Program& program, int query, int rotary, int out, int64_t store,
                       int64_t heads, float scale, nb::dict options) {
  require(heads > 0, "attention needs heads");
  const int64_t width = program.width(checked(program, query));
  const int64_t rotated = rotary == kNoBuffer ? 0 : program.width(checked(program, rotary));
  require(width % heads == 0 && rotated % heads == 0, "queries have a part for each head");
  checked(program, out, width);
  AttendLatent op = {query, rotary,
                     out,   checked_store(program, store),
                     heads, latent_shape(program, width / heads, rotated / heads),
                     scale, nb::cast<bool>(options["is_selected"])};
  op.window = nb::cast<int64_t>(options["window"]);
  if (!options["entries"].is_none())
    op.entries = checked_store(program, nb::cast<int64_t>(options["entries"]));
  if (!options["sinks"].is_none()) op.sinks = to_floats(nb::cast<FloatVector>(options["sinks"]));
  require(op.window >= 0 && (op.sinks.empty() || (int64_t)op.sinks.size() == heads),
          "a window is no less than 0, and a head has one sink");
  program.add(std::move(op));
}

void add_select(Program& program, int query, int weights, int64_t store, int64_t top_k,
                float scale) {
  const int64_t heads = program.width(checked(program, weights));
  const int64_t width = program.width(checked(program, query));
  require(width % heads == 0 && top_k > 0, "an index has a query for each head, and chooses some");
  program.add(Select{query, weights, checked_store(program, store), heads, top_k,
                     latent_shape(program, width / heads, 0), scale});
}

void add_layer_norm(Program& program, int x, FloatVector weight, FloatVector bias, float eps) {
  checked(program, x, (int64_t)weight.size());
  require(weight.size() == bias.size(), "a layer norm has as many biases as weights");
  program.add(LayerNorm{x, to_floats(weight), to_floats(bias), eps});
}

void add_causal_conv(Program& program, int x, FloatVector weight, int64_t size) {
  const int64_t columns = program.width(checked(program, x));
  require(size > 1 && (int64_t)weight.size() == size * columns,
          "a convolution has a weight for each column and place");
  program.add(CausalConv{x, to_floats(weight), size, program.add_state((size - 1) * columns)});
}

void add_unit_length(Program& program, int x, int64_t heads, float eps, float factor) {
  require(heads > 0 && program.width(checked(program, x)) % heads == 0, "heads divide a row");
  program.add(UnitLength{x, heads, eps, factor});
}

void add_delta_gates(Program& program, int a, int b, FloatVector rate, FloatVector bias) {
  const int64_t heads = program.width(checked(program, a));
  checked(program, b, heads);
  require((int64_t)rate.size() == heads && (int64_t)bias.size() == heads,
          "a delta net has a rate and a bias for each head");
  program.add(DeltaGates{a, b, to_floats(rate), to_floats(bias)});
}

struct DeltaBuffers {
  int query, key, value, decay, beta, out;
};

void add_delta_rule(Program& program, const DeltaBuffers& b, int64_t key_heads, bool tiled) {
  const int64_t heads = program.width(checked(program, b.decay));
  const int64_t keys = program.width(checked(program, b.query));
  const int64_t values = program.width(checked(program, b.value));
  require(key_heads > 0 && keys % key_heads == 0 && heads % key_heads == 0 && values % heads == 0,
          "a delta net's heads do not divide its rows");
  require(values / heads % 16 == 0, "a delta net's values are a multiple of 16 wide");
  checked(program, b.beta, heads);
  program.add(DeltaRule{b.query, checked(program, b.key, keys), b.value, b.decay, b.beta,
                        checked(program, b.out, values), key_heads, heads,
                        program.add_state(keys / key_heads * values), tiled});
}

void add_sigmoid_gate(Program& program, int gate, int x, int out) {
  const int64_t columns = program.width(checked(program, out));
  program.add(SigmoidGate{checked(program, gate, columns), checked(program, x, columns), out});
}

}  // namespace

void bind_layers(nb::class_<Program>& program) {
  program.def("latent_store", &add_latent_store, "latent"_a, "rotary"_a, "rate"_a = 1)
      .def("grouped_linear", &add_grouped)
      .def("append_latent", &add_append_latent)
      .def("attend_latent", &add_attend_latent)
      .def("select", &add_select)
      .def("layer_norm", &add_layer_norm)
      .def("causal_conv", &add_causal_conv)
      .def("unit_length", &add_unit_length)
      .def("delta_gates", &add_delta_gates)
      .def("delta_rule",
           [](Program& p, int query, int key, int value, int decay, int beta, int out,
              int64_t key_heads, bool tiled) {
             add_delta_rule(p, {query, key, value, decay, beta, out}, key_heads, tiled);
           })
      .def("sigmoid_gate", &add_sigmoid_gate);
}

}  // namespace wazn
