// Feed-forward networks as methods of the Python class Program: gated products, and mixtures of
// experts.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <algorithm>

#include "bind_program.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace wazn {
namespace {

using Ids = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::vector<float> optional_floats(nb::handle values, int64_t count, const char* otherwise) {
  if (values.is_none()) return {};
  std::vector<float> floats = to_floats(nb::cast<FloatVector>(values));
  require((int64_t)floats.size() == count, otherwise);
  return floats;
}

Choice make_choice(int64_t experts, int64_t top_k, nb::dict options) {
  Choice choice = {experts, top_k, nb::cast<bool>(options["normalize"])};
  const std::string scoring = nb::cast<std::string>(options["scoring"]);
  const auto& scores = {"softmax", "sigmoid", "sqrt_softplus"};
  const auto found = std::find(scores.begin(), scores.end(), scoring);
  if (found == scores.end()) throw std::invalid_argument("there is no scoring " + scoring);
  choice.scoring = (Scoring)(found - scores.begin());
  if (!options["bias"].is_none()) choice.bias = to_floats(nb::cast<FloatVector>(options["bias"]));
  choice.groups = nb::cast<int64_t>(options["groups"]);
  choice.top_groups = nb::cast<int64_t>(options["top_groups"]);
  choice.sums_two = nb::cast<bool>(options["sums_two"]);
  choice.scale = nb::cast<float>(options["scale"]);
  choice.least_sum = nb::cast<float>(options["least_sum"]);
  choice.softcap = nb::cast<float>(options["softcap"]);
  choice.by_logits = nb::cast<bool>(options["by_logits"]);
  choice.on_input = nb::cast<bool>(options["on_input"]);
  return choice;
}

void add_route(Program& program, int in, std::shared_ptr<Weight> weight, int scores, int64_t top_k,
               nb::dict options) {
  const Matrix& w = weight->matrix;
  if (weight->count != 1 || top_k < 1 || top_k > w.rows)
    throw std::invalid_argument("a router chooses from 1 to all of its experts");
  Choice choice = make_choice(w.rows, top_k, options);
  if (!choice.bias.empty() && (int64_t)choice.bias.size() != w.rows)
    throw std::invalid_argument("a router's bias has the wrong length");
  if (choice.groups < 1 || w.rows % choice.groups || choice.top_groups < 1 ||
      choice.top_groups > choice.groups || w.rows / choice.groups * choice.top_groups < top_k ||
      (choice.sums_two && choice.groups > 1 && w.rows / choice.groups < 2))
    throw std::invalid_argument("a router's groups do not fit its experts");
  Route route = {checked(program, in, w.columns), checked(program, scores, w.rows),
                 std::move(weight), std::move(choice)};
  route.bias =
      optional_floats(options["logit_bias"], w.rows, "a router's bias has the wrong length");
  if (!options["table"].is_none()) {
    const auto table = nb::cast<Ids>(options["table"]);
    route.table.assign(table.data(), table.data() + table.size());
    for (int32_t expert : route.table)
      if (expert < 0 || expert >= w.rows)
        throw std::invalid_argument("a router's table names an expert that does not exist");
  }
  program.add(std::move(route));
}

// A buffer with a row for every pair of a row and one of its experts.
BufferId checked_pairs(Program& program, int id, int64_t columns) {
  checked(program, id);
  if (program.buffer(id).columns != columns || program.routing().top_k() < 1 ||
      program.copies(id) < program.routing().top_k())
    throw std::invalid_argument("buffer " + std::to_string(id) + " has no row for every expert");
  return id;
}

void check_experts(const Program& program, const Weight& weight) {
  if (weight.count != program.routing().num_experts())
    throw std::invalid_argument("a stack of " + std::to_string(weight.count) +
                                " experts does not fit its router");
}

// gate, up and down have a bias for each expert and row, or none.
std::vector<float> expert_bias(nb::handle bias, const Weight& weight) {
  return optional_floats(bias, weight.count * weight.matrix.rows,
                         "the biases of experts have the wrong length");
}

Glu make_glu(const std::string& kind, float limit) {
  const auto& kinds = {"silu", "gelu_tanh", "clamped"};
  const auto found = std::find(kinds.begin(), kinds.end(), kind);
  if (found == kinds.end()) throw std::invalid_argument("there is no gate " + kind);
  require(kind != "clamped" || limit > 0.0f, "a clamped gate has a limit");
  return {(GluKind)(found - kinds.begin()), limit};
}

void add_experts_up(Program& program, int in, int gathered, std::shared_ptr<Weight> gate,
                    std::shared_ptr<Weight> up, int out, const Glu& how, nb::tuple biases) {
  const Matrix &g = gate->matrix, &u = up->matrix;
  check_experts(program, *gate);
  check_experts(program, *up);
  if (g.rows != u.rows || g.columns != u.columns)
    throw std::invalid_argument("gate and up differ in shape");
  checked(program, in, g.columns);
  checked_pairs(program, out, g.rows);
  if (gathered != kNoBuffer) checked_pairs(program, gathered, g.columns);
  if ((program.reads_floats(*gate) || program.reads_floats(*up)) && gathered == kNoBuffer)
    throw std::invalid_argument("float products need a buffer for their rows");
  require(biases.size() == 2, "there are biases of gate and of up");
  auto gate_bias = expert_bias(biases[0], *gate), up_bias = expert_bias(biases[1], *up);
  program.add(ExpertsUp{in, gathered, out, std::move(gate), std::move(up), how,
                        std::move(gate_bias), std::move(up_bias), program.routing().on_input()});
}

void add_experts_down(Program& program, int in, std::shared_ptr<Weight> weight, int out,
                      bool accumulate, nb::object bias) {
  check_experts(program, *weight);
  checked_pairs(program, in, weight->matrix.columns);
  checked(program, out, weight->matrix.rows);
  auto biases = expert_bias(bias, *weight);
  program.add(ExpertsDown{in, out, std::move(weight), accumulate, std::move(biases),
                          !program.routing().on_input()});
}

}  // namespace

void bind_experts(nb::class_<Program>& program) {
  program.def("route", &add_route)
      .def(
          "gated_product",
          [](Program& p, int gate, int up, int out, const std::string& kind, float limit) {
            const int64_t columns = p.width(checked(p, out));
            p.add(GatedProduct{checked(p, gate, columns), checked(p, up, columns), out,
                               make_glu(kind, limit)});
          },
          "gate"_a, "up"_a, "out"_a, "kind"_a = "silu", "limit"_a = 0.0f)
      .def(
          "experts_up",
          [](Program& p, int x, int gathered, std::shared_ptr<Weight> gate,
             std::shared_ptr<Weight> up, int out, const std::string& kind, float limit,
             nb::tuple biases) {
            add_experts_up(p, x, gathered, std::move(gate), std::move(up), out,
                           make_glu(kind, limit), biases);
          },
          "x"_a, "gathered"_a, "gate"_a, "up"_a, "out"_a, "kind"_a = "silu", "limit"_a = 0.0f,
          "biases"_a = nb::make_tuple(nb::none(), nb::none()))
      .def("experts_down", &add_experts_down, "x"_a, "weight"_a, "out"_a, "accumulate"_a,
           "bias"_a = nb::none())
      .def("add_gated", [](Program& p, int gate, int x, int out) {
        const int64_t columns = p.buffer(checked(p, out)).columns;
        p.add(AddGated{checked(p, gate, 1), checked(p, x, columns), out});
      });
}

}  // namespace wazn
