// The native core as the Python module wazn.native._core. Everything that Python passes is checked
// here or in Program::run; a std::invalid_argument becomes ValueError, std::runtime_error
// RuntimeError.
#include "bind.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <stdexcept>

#include "bind_program.h"
#include "machine.h"
#include "pack.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace wazn {
namespace {

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Table = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Result = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

Layout layout_of(int value) {
  if (value < 0 || value > (int)kLastLayout)
    throw std::invalid_argument("there is no layout " + std::to_string(value));
  return (Layout)value;
}

int64_t packed_bytes(int layout, int64_t rows, int64_t columns) {
  return (rows + kPanelRows - 1) / kPanelRows * panel_bytes(layout_of(layout), columns);
}

void pack(int layout_value, Table<uint8_t> raw, int64_t columns,
          nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> out) {
  const Layout layout = layout_of(layout_value);
  const FormatSize block = file_block(layout);
  const int64_t rows = raw.shape(0), row_bytes = raw.shape(1);
  if (columns % block.columns || row_bytes != columns / block.columns * block.bytes ||
      (int64_t)out.size() != packed_bytes(layout_value, rows, columns))
    throw std::invalid_argument("pack: the sizes of rows, columns and output do not agree");
  const int64_t panel = panel_bytes(layout, columns);
  const uint8_t* source = raw.data();
  uint8_t* target = out.data();
  nb::gil_scoped_release release;
  for (int64_t row = 0; row < rows; row += kPanelRows)
    pack_panel(layout, source + row * row_bytes, std::min(kPanelRows, rows - row), columns,
               target + row / kPanelRows * panel);
}

std::shared_ptr<Weight> make_weight(std::shared_ptr<Memory> memory, int64_t offset, int layout,
                                    int64_t rows, int64_t columns, int64_t count) {
  const int64_t block = file_block(layout_of(layout)).columns;
  if (rows < 1 || columns < 1 || columns % block || rows > INT32_MAX || columns > INT32_MAX ||
      count < 1 || count > 65536)
    throw std::invalid_argument("a weight of " + std::to_string(rows) + " x " +
                                std::to_string(columns) + " does not fit its layout");
  const int64_t one = packed_bytes(layout, rows, columns);
  if (one > INT64_MAX / count) throw std::invalid_argument("a weight lies outside its memory");
  const int64_t bytes = one * count;
  if (offset < 0 || offset > (int64_t)memory->size() || bytes > (int64_t)memory->size() - offset)
    throw std::invalid_argument("a weight lies outside its memory");
  const Matrix matrix = {memory->data() + offset, rows, columns, layout_of(layout)};
  return std::make_shared<Weight>(Weight{std::move(memory), matrix, count});
}

KvFormat kv_format(const std::string& name) {
  if (name == "float32") return KvFormat::kFloat32;
  if (name == "float16") return KvFormat::kFloat16;
  if (name == "int8") return KvFormat::kInt8;
  throw std::invalid_argument("there is no KV format " + name);
}

void add_linear(Program& program, int in, nb::list products) {
  Linear op{checked(program, in), {}};
  for (nb::handle item : products) {
    nb::tuple t = nb::cast<nb::tuple>(item);
    Product p{
        nb::cast<std::shared_ptr<Weight>>(t[0]), {}, nb::cast<int>(t[2]), nb::cast<bool>(t[3])};
    const Matrix& w = p.weight->matrix;
    checked(program, in, w.columns);
    if (program.copies(in) != 1) throw std::invalid_argument("a product reads whole rows");
    if (p.weight->count != 1) throw std::invalid_argument("a product takes one matrix");
    if (!t[1].is_none()) p.bias = to_floats(nb::cast<FloatVector>(t[1]));
    if (!p.bias.empty() && (int64_t)p.bias.size() != w.rows)
      throw std::invalid_argument("a bias has the wrong length");
    if (p.out != kLogits) checked(program, p.out, w.rows);
    op.products.push_back(std::move(p));
  }
  program.add(std::move(op));
}

void add_attend(Program& program, int query, int out, int64_t layer, int64_t heads, float scale,
                int64_t window, int64_t chunk, float softcap, std::optional<FloatVector> sinks,
                bool is_tempered) {
  const KvShape& kv = program.kv();
  require(layer >= 0 && layer < kv.layers, "no such layer");
  require(heads > 0 && window >= 0 && chunk >= 0 && softcap >= 0.0f &&
              (!sinks || (int64_t)sinks->size() == heads),
          "windows, chunks and caps are no less than 0, and a head has one sink");
  const std::vector<float> of_heads = sinks ? to_floats(*sinks) : std::vector<float>();
  const Reach reach = {window, chunk};
  program.add(Attend{checked(program, query, heads * kv.head_dim),
                     checked(program, out, heads * kv.head_dim), layer, heads, scale, reach,
                     softcap, is_tempered, of_heads});
  program.add(MergeParts{out, heads, reach, of_heads});
}

void run(Program& program, int first_segment, int last_segment, Vector<int32_t> token_ids,
         Vector<int32_t> row_starts, Vector<int32_t> first_positions, Table<int32_t> page_tables,
         Vector<int32_t> wanted, Result<float> result, std::optional<Vector<int32_t>> state_slots) {
  if (row_starts.size() != first_positions.size() + 1 ||
      (state_slots && state_slots->size() != first_positions.size()) ||
      page_tables.shape(0) != first_positions.size() || result.shape(0) != wanted.size())
    throw std::invalid_argument("the arrays of a batch do not agree in length");
  const Step step = {(int64_t)token_ids.size(),
                     (int64_t)first_positions.size(),
                     (int64_t)page_tables.shape(1),
                     (int64_t)wanted.size(),
                     (int64_t)result.shape(1),
                     token_ids.data(),
                     row_starts.data(),
                     first_positions.data(),
                     page_tables.data(),
                     wanted.data(),
                     state_slots ? state_slots->data() : nullptr,
                     result.data()};
  nb::gil_scoped_release release;
  program.run(first_segment, last_segment, step);
}

template <class T>
nb::ndarray<nb::numpy, T> view(T* data, int64_t rows, int64_t columns, nb::handle owner) {
  return nb::ndarray<nb::numpy, T>(data, {(size_t)rows, (size_t)columns}, owner);
}

}  // namespace
}  // namespace wazn

NB_MODULE(_core, m) {
  using namespace wazn;
  nb::set_leak_warnings(false);  // models live in module globals of tests until the very end
  m.attr("PANEL_ROWS") = kPanelRows;
  m.attr("PAGE") = kPage;
  m.attr("NO_BUFFER") = kNoBuffer;
  nb::dict layouts;  // name of the number format -> layout
  const char* names[] = {"F32",  "F16",    "BF16",  "Q4_0",     "Q4_1", "Q5_0",    "Q5_1",
                         "Q8_0", "IQ4_NL", "MXFP4", "Q2_K",     "Q3_K", "Q4_K",    "Q5_K",
                         "Q6_K", "IQ4_XS", "INT4",  "INT4_128", "INT8", "INT8_128"};
  for (int i = 0; i <= (int)kLastLayout; ++i) layouts[names[i]] = i;
  m.attr("LAYOUTS") = layouts;
  m.def("available_isas", &available_isas);
  m.def("release_free_memory", &release_free_memory);
  m.def("packed_bytes", &packed_bytes, "layout"_a, "rows"_a, "columns"_a);
  m.def("pack", &pack, "layout"_a, "raw"_a, "columns"_a, "out"_a);

  nb::class_<Memory>(m, "Memory")
      .def_static(
          "map_file",
          [](const std::string& path) { return std::shared_ptr<Memory>(Memory::map_file(path)); })
      .def_static("allocate",
                  [](size_t bytes) { return std::shared_ptr<Memory>(Memory::allocate(bytes)); })
      .def_prop_ro("size", &Memory::size)
      .def_prop_ro("is_lost", &Memory::is_lost)
      .def("floats",
           [](const Memory& memory, int64_t offset, int64_t count) {
             const int64_t size = memory.size();
             if (offset < 0 || offset % 4 || offset > size || count < 0 ||
                 count > (size - offset) / 4)
               throw std::invalid_argument("a vector lies outside its memory");
             float* out = new float[count];
             std::memcpy(out, memory.data() + offset, count * sizeof(float));
             nb::capsule owner(out, [](void* p) noexcept { delete[] (float*)p; });
             return nb::ndarray<nb::numpy, float>(out, {(size_t)count}, owner);
           })
      .def("writable", [](nb::object self) {
        Memory& memory = nb::cast<Memory&>(self);
        if (memory.is_file()) throw std::invalid_argument("a mapped file is read-only");
        return nb::ndarray<nb::numpy, uint8_t>(memory.data(), {memory.size()}, self);
      });

  nb::class_<Weight>(m, "Weight")
      .def_static("create", &make_weight, "memory"_a, "offset"_a, "layout"_a, "rows"_a, "columns"_a,
                  "count"_a = 1)
      .def_prop_ro("count", [](const Weight& w) { return w.count; })
      .def_prop_ro("rows", [](const Weight& w) { return w.matrix.rows; })
      .def_prop_ro("columns", [](const Weight& w) { return w.matrix.columns; })
      .def_prop_ro("layout", [](const Weight& w) { return (int)w.matrix.layout; })
      .def("row", [](const Weight& w, int64_t row) {
        if (row < 0 || row >= w.matrix.rows || w.count != 1)
          throw std::invalid_argument("no such row");
        float* out = new float[w.matrix.columns];
        nb::capsule owner(out, [](void* p) noexcept { delete[] (float*)p; });
        kernels_for("")->dequantize_row(w.matrix, row, out);
        return nb::ndarray<nb::numpy, float>(out, {(size_t)w.matrix.columns}, owner);
      });

  nb::class_<Pool>(m, "Pool")
      .def(
          "__init__",
          [](Pool* self, int threads, std::vector<int> cpus) {
            if (threads < 1 || threads > 1024) throw std::invalid_argument("threads: 1 to 1024");
            if (!cpus.empty() && (int)cpus.size() != threads)
              throw std::invalid_argument("cpus: one for each thread, or none");
            new (self) Pool(threads, std::move(cpus));
          },
          "threads"_a, "cpus"_a = std::vector<int>())
      .def_prop_ro("size", &Pool::size)
      .def("measure_bandwidth",
           [](Pool& pool, size_t bytes) {
             nb::gil_scoped_release release;
             return measure_bandwidth(pool, bytes);
           })
      .def("measure_compute", [](Pool& pool, const std::string& isa) {
        nb::gil_scoped_release release;
        return measure_compute(*kernels_for(isa), pool);
      });

  nb::class_<Program> program(m, "Program");
  program
      .def(
          "__init__",
          [](Program* self, std::shared_ptr<Pool> pool, int64_t max_rows, bool exact,
             int64_t layers, int64_t kv_heads, int64_t head_dim, const std::string& kv,
             const std::string& isa) {
            if (max_rows < 1 || layers < 0 || kv_heads < 1 || head_dim < 1)
              throw std::invalid_argument("a program needs rows and heads");
            new (self) Program(kernels_for(isa), std::move(pool), max_rows, exact,
                               {layers, kv_heads, head_dim, kv_format(kv)});
          },
          "pool"_a, "max_rows"_a, "exact"_a, "layers"_a, "kv_heads"_a, "head_dim"_a, "kv"_a,
          "isa"_a)
      .def_prop_ro("segments", &Program::segments)
      .def_prop_ro("page_bytes", &Program::page_bytes)
      .def_prop_ro("state_bytes", &Program::state_bytes)
      .def_prop_ro("head_dim", [](const Program& p) { return p.kv().head_dim; })
      .def(
          "buffer",
          [](Program& p, int64_t columns, const std::string& form, int64_t copies) {
            const std::map<std::string, int64_t> bits = {{"none", 0}, {"narrow", 8}, {"wide", 16}};
            if (!bits.count(form)) throw std::invalid_argument("there is no form " + form);
            if (columns < 1 || (form != "none" && columns % 32))
              throw std::invalid_argument("a buffer of " + std::to_string(columns) +
                                          " columns cannot be quantised in whole blocks");
            if (copies < 1 || copies > 65536) throw std::invalid_argument("a buffer has copies");
            return p.add_buffer(columns, bits.at(form), copies);
          },
          "columns"_a, "form"_a, "copies"_a = 1)
      .def("embed",
           [](Program& p, std::shared_ptr<Weight> table, int out) {
             const int64_t columns = table->matrix.columns;
             p.add(Embed{std::move(table), checked(p, out, columns)});
           })
      .def("rms_norm",
           [](Program& p, int in, FloatVector weight, float eps, int heads, int out) {
             if (heads < 1) throw std::invalid_argument("rms_norm: no heads");
             checked(p, in, (int64_t)weight.size() * heads);
             p.add(
                 RmsNorm{in, checked(p, out, p.buffer(in).columns), to_floats(weight), eps, heads});
           })
      .def("linear", &add_linear)
      .def(
          "rope",
          [](Program& p, int x, int64_t heads, int64_t head_dim, int64_t offset, int64_t width,
             bool interleaved, bool inverse, int64_t table) {
            if (heads < 1 || offset < 0 || width < 2 || width % 2 || offset + width > head_dim ||
                table < 0 || table > 7)
              throw std::invalid_argument("rope: no such part of a head, or no such table");
            p.add(Rope{checked(p, x, heads * head_dim), heads, head_dim, offset, width, table,
                       interleaved, inverse});
          },
          "x"_a, "heads"_a, "head_dim"_a, "offset"_a, "width"_a, "interleaved"_a,
          "inverse"_a = false, "table"_a = 0)
      .def("append_kv",
           [](Program& p, int key, int value, int64_t layer) {
             const KvShape& kv = p.kv();
             if (layer < 0 || layer >= kv.layers) throw std::invalid_argument("no such layer");
             p.add(AppendKv{checked(p, key, kv.heads * kv.head_dim),
                            checked(p, value, kv.heads * kv.head_dim), layer});
           })
      .def("attend", &add_attend, "query"_a, "out"_a, "layer"_a, "heads"_a, "scale"_a,
           "window"_a = 0, "chunk"_a = 0, "softcap"_a = 0.0f, "sinks"_a = nb::none(),
           "is_tempered"_a = false)
      .def("quantize", [](Program& p, int x) { p.add(Quantize{checked(p, x)}); })
      .def("scale",
           [](Program& p, int x, float factor, float cap) {
             require(cap >= 0.0f, "a cap is no less than 0");
             p.add(Scale{x == kLogits ? kLogits : checked(p, x), factor, cap});
           })
      .def("add", [](Program& p, int in,
                     int out) { p.add(Add{checked(p, in, p.width(checked(p, out))), out}); })
      .def("gather",
           [](Program& p, int in, int out) {
             p.add(Gather{checked(p, in), checked(p, out, p.buffer(in).columns)});
           })
      .def("emit", [](Program& p, int in) { p.add(Emit{checked(p, in)}); })
      .def("end_segment", &Program::end_segment)
      .def_prop_ro("copied_bytes", &Program::copied_bytes)
      .def("copy_weights", &Program::copy_weights, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "open_cache",
          [](Program& p, int64_t pages, int64_t slots) {
            if (pages < 1 || slots < 1)
              throw std::invalid_argument("a cache needs pages and slots");
            p.open_cache(pages, slots);
          },
          "pages"_a, "slots"_a = 1)
      .def(
          "set_angles",
          [](Program& p, nb::ndarray<const float, nb::ndim<3>, nb::c_contig> angles,
             int64_t table) {
            if (angles.shape(2) != 2 || table < 0 || table > 7)
              throw std::invalid_argument("angles have the shape (positions, width / 2, 2)");
            p.set_angles(table, angles.data(), angles.shape(0), 2 * angles.shape(1));
          },
          nb::keep_alive<1, 2>(), "angles"_a, "table"_a = 0)
      .def(
          "set_factors",
          [](Program& p, FloatVector factors) { p.set_factors(factors.data(), factors.size()); },
          nb::keep_alive<1, 2>(), "factors"_a)
      .def("run", &run, "first_segment"_a, "last_segment"_a, "token_ids"_a, "row_starts"_a,
           "first_positions"_a, "page_tables"_a, "wanted"_a, "result"_a,
           "state_slots"_a = nb::none())
      .def_prop_ro("num_operations", &Program::num_operations)
      .def("start_profile", &Program::start_profile)
      .def_prop_ro("seconds", &Program::seconds)
      .def("floats", [](nb::object self, int id) {
        Program& p = nb::cast<Program&>(self);
        const Activation& b = p.buffer(checked(p, id));
        return view(b.floats, p.max_rows() * p.copies(id), b.columns, self);
      });

  bind_experts(program);
  bind_layers(program);
  bind_streams(program);
  bind_sampler(m);
}
