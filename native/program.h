// The recorded program: what one forward step does, as a list of operations in named segments.
// Python records it once (wazn.models.recorder); a step runs a range of segments over all rows of
// a batch in one call, on all threads, with barriers between operations that need them.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "layer_kernels.h"
#include "memory.h"
#include "pool.h"
#include "routing.h"

namespace wazn {

// A weight matrix and the memory that keeps it alive; or a stack of `count` of one shape (experts),
// each in whole panels, `matrix` being the first.
struct Weight {
  std::shared_ptr<Memory> memory;
  Matrix matrix;
  int64_t count = 1;
  Matrix expert(int64_t index) const;
};

using BufferId = int;

struct Embed {
  std::shared_ptr<Weight> table;
  BufferId out;
};
struct RmsNorm {  // over the whole row, or over each of `heads` equal parts of it
  BufferId in, out;
  std::vector<float> weight;
  float eps;
  int64_t heads;
};
struct Product {
  std::shared_ptr<Weight> weight;
  std::vector<float> bias;  // empty: none
  BufferId out;             // kLogits: the step's logits
  bool accumulate;
};
struct Linear {  // several products of one input
  BufferId in;
  std::vector<Product> products;
};
struct Rope {  // `width` numbers of each head, from `offset` on, by the angles of a table
  BufferId x;
  int64_t heads, head_dim, offset, width, table;
  bool interleaved, inverse;
};
struct AppendKv {
  BufferId key, value;
  int64_t layer;
};
struct Attend {
  BufferId query, out;
  int64_t layer, heads;
  float scale;
  Reach reach;
  float softcap;             // of scores; 0: none
  bool is_tempered;          // scores are multiplied by the factor of the query's position
  std::vector<float> sinks;  // per head; empty: none
};
struct MergeParts {  // finishes rows whose parts were computed apart
  BufferId out;
  int64_t heads;
  Reach reach;
  std::vector<float> sinks;
};
// What gates a product: silu, gelu by tanh, or gpt-oss' clamped one (gates.h).
enum class GluKind { kSilu, kGeluTanh, kClamped };
struct Glu {
  GluKind kind = GluKind::kSilu;
  float limit = 0.0f;  // of the gate from above, of up on both sides; 0: none
};
struct GatedProduct {
  BufferId gate, up, out;
  Glu how;
};
struct Quantize {  // fills the quantised form of a buffer whose floats another operation wrote
  BufferId x;
};
struct SigmoidGate {  // out = sigmoid(gate) * in
  BufferId gate, in, out;
};
// Part h of `in` times matrix h of a stack is part h of `out` (latent.cpp).
struct GroupedLinear {
  BufferId in, out;
  std::shared_ptr<Weight> weight;
};
// Latent attention (latent.cpp): cached rows of a store, one for each position.
struct AppendLatent {
  BufferId latent, rotary;  // rotary: kNoBuffer if a row has no such part
  int64_t store;
  LatentShape shape;
};
struct AttendLatent {
  BufferId query, rotary, out;  // (heads, latent), (heads, rotary) or kNoBuffer
  int64_t store, heads;
  LatentShape shape;
  float scale;
  bool is_selected;      // only the rows of `store`, or of `entries`, that the last Select chose
  int64_t window = 0;    // of the rows of `store` only so many, the own the last; 0: all
  int64_t entries = -1;  // a store of compressed rows that are seen besides; -1: none
  std::vector<float> sinks = {};  // per head; empty: none
};
struct Select {  // the top_k rows of a store with the best scores; of equal ones the lowest
  BufferId query, weights;  // (heads, shape.latent), (heads)
  int64_t store, heads, top_k;
  LatentShape shape;
  float scale;
};
// Makes one row of a store of every `rate` rows of a sequence, or of twice as many, those before
// with the first half of their columns and these with the second (compress.cpp).
struct Compress {
  BufferId values, gates;
  int64_t store, state, rate;
  bool overlaps;
  LatentShape shape;
  std::vector<float> biases;  // (rate, columns of values)
  std::vector<float> weight;  // of the norm of a pooled row
  float eps;
  RopeShape rope;  // of its last columns, by the angles of the first of its `rate` positions
  int64_t table;
};
struct KeepRows {  // of Compress: keeps the last rows for the next step
  BufferId values, gates;
  int64_t state, count;
};
// Several streams of a residual (hyper.cpp; Xie 2026), side by side in a row.
struct Repeat {  // every stream begins as `in`
  BufferId in, out;
};
struct HyperWeights {  // in place: what a sublayer takes of, adds to and mixes of the streams
  BufferId x;          // (streams), or (streams, streams, streams * streams)
  int64_t streams, iterations;
  std::vector<float> scales, biases;
  float eps;
};
struct Collapse {  // out = sum over streams of weight * stream
  BufferId streams, weights, out;
};
struct Expand {  // in place: stream t = post_t * in + sum over streams s of mix_st * stream s
  BufferId streams, weights, in;
};
struct LayerNorm {  // in place
  BufferId x;
  std::vector<float> weight, bias;
  float eps;
};
// Linear attention (recurrent.cpp): operations with a state, `state` floats into a sequence's slot.
struct CausalConv {  // in place; silu included
  BufferId x;
  std::vector<float> weight;  // (size, columns)
  int64_t size, state;
};
struct UnitLength {  // each head of x becomes `factor` long, in place
  BufferId x;
  int64_t heads;
  float eps, factor;
};
struct DeltaGates {  // a becomes the decay, b the strength of a correction, each per head
  BufferId a, b;
  std::vector<float> rate, bias;
};
struct DeltaRule {
  BufferId query, key, value, decay, beta, out;
  int64_t key_heads, value_heads, state;
  bool tiled;  // value head h reads key head h % key_heads, not h / (value_heads / key_heads)
};
struct Scale {        // in place: factor * x, or cap * tanh(factor * x / cap)
  BufferId x;         // kLogits: the step's logits
  float factor, cap;  // cap 0: none
};
struct Add {  // out += in
  BufferId in, out;
};
struct Gather {  // the wanted rows only; what follows works on those
  BufferId in, out;
};
struct Emit {  // copies wanted rows to the step's result
  BufferId in;
};
// Mixture of experts (experts.cpp): what Route chooses holds for the operations up to the next one.
struct Route {
  BufferId in, scores;  // scores (rows, experts): softmax of the products
  std::shared_ptr<Weight> weight;
  Choice choice;
  std::vector<int32_t> table = {};  // the experts of each token id; empty: chosen by score
  std::vector<float> bias = {};     // of the products; empty: none
};
struct ExpertsUp {  // gate and up of a Glu, a row of `out` for every pair of a row and its expert
  BufferId in, gathered, out;  // gathered: rows in the order of pairs for float products, or none
  std::shared_ptr<Weight> gate, up;
  Glu how;
  std::vector<float> gate_bias, up_bias;  // (experts, columns of out); empty: none
  bool weighs = false;                    // products are multiplied by the router's weight
};
// Sums a row's products by ascending expert, each times the router's weight if it weighs.
struct ExpertsDown {
  BufferId in, out;
  std::shared_ptr<Weight> weight;
  bool accumulate;          // begin with what is in `out`
  std::vector<float> bias;  // (experts, columns of out) of the products; empty: none
  bool weighs = true;
};
struct AddGated {  // out += sigmoid(gate) * in, one gate per row
  BufferId gate, in, out;
};
using Operation =
    std::variant<Embed, RmsNorm, Linear, Rope, AppendKv, Attend, MergeParts, GatedProduct, Quantize,
                 Gather, Emit, Route, ExpertsUp, ExpertsDown, AddGated, SigmoidGate, GroupedLinear,
                 AppendLatent, AttendLatent, CausalConv, UnitLength, DeltaGates, DeltaRule, Select,
                 LayerNorm, Compress, KeepRows, Repeat, HyperWeights, Collapse, Expand, Scale, Add>;

constexpr BufferId kLogits = -1, kNoBuffer = -2;

// A KV page holds 64 positions of every layer and KV head.
struct KvShape {
  int64_t layers, heads, head_dim;
  KvFormat format;
};

// One batch. Arrays belong to the caller and are checked by Program::run.
struct Step {
  int64_t rows, num_sequences, table_width, num_wanted, result_columns;
  const int32_t *token_ids, *row_starts, *first_positions, *page_tables, *wanted;
  const int32_t* state_slots;  // per sequence; null where no operation has a state
  float* result;               // (num_wanted, result_columns)
};

int64_t grouped_scratch_bytes(int64_t columns, int64_t max_rows);
int64_t expert_scratch_bytes(int64_t columns, int64_t max_rows);

class Program {
 public:
  Program(const Kernels* kernels, std::shared_ptr<Pool> pool, int64_t max_rows, bool exact,
          KvShape kv);

  // `bits` of its quantised form, 8 or 16, or 0 for floats only; `copies` rows for each row of a
  // step: 1, or the experts of a row.
  BufferId add_buffer(int64_t columns, int64_t bits, int64_t copies = 1);
  // Room in every page for `bytes`; and in every state slot for `floats`, zero at position 0.
  // Rows of `bytes`, one for each `rate` positions.
  int64_t add_store(int64_t bytes, int64_t rate = 1);
  int64_t add_state(int64_t floats);
  void add(Operation operation);
  void end_segment(const std::string& name);  // operations since the last one
  // Has products read copies of their weights that lie where the pool's threads run (placement.h).
  int64_t copied_bytes();
  void copy_weights();
  void open_cache(int64_t num_pages, int64_t num_slots);
  // angles: (positions, width / 2, 2) cosines and sines of one table; must outlive the next step.
  // factors: one for each position, of the scores of tempered attention; must outlive the next
  // step.
  void set_factors(const float* factors, int64_t num_positions);
  void set_angles(int64_t table, const float* angles, int64_t num_positions, int64_t width);
  void run(int first_segment, int last_segment, const Step& step);
  // From now on, adds up how long each operation takes, the wait at its barrier included.
  void start_profile() { seconds_.assign(operations_.size(), 0.0); }
  const std::vector<double>& seconds() const { return seconds_; }
  int num_operations() const { return (int)operations_.size(); }

  const std::vector<std::string>& segments() const { return segment_names_; }
  Activation& buffer(BufferId id) { return buffers_[id]; }
  int64_t copies(BufferId id) const { return copies_[id]; }
  // Numbers in a row: a buffer read in parts has one for each copy.
  int64_t width(BufferId id) const { return buffers_[id].columns * copies_[id]; }
  const Routing& routing() const { return routing_; }
  // Whether products with this weight read floats, not the quantised form.
  bool reads_floats(const Weight& weight) const {
    return exact_ || weight.matrix.layout <= Layout::kBF16;
  }
  int num_buffers() const { return (int)buffers_.size(); }
  const KvShape& kv() const { return kv_; }
  int64_t page_bytes() const { return page_bytes_; }
  int64_t state_bytes() const { return state_floats_ * 4; }
  int64_t num_stores() const { return (int64_t)stores_.size(); }
  int64_t max_rows() const { return max_rows_; }

 private:
  struct ExpertScratch;
  struct Tile {  // rows of one sequence that attend together, to some parts of its positions
    int32_t sequence, first_row, num_rows, part_pages, first_part, last_part;
    int64_t partials;  // where its partial results are; -1: none
  };
  struct View {  // how the rows of a step attend that reach equally far
    Reach reach;
    int64_t group;  // query heads per KV head
    std::vector<Tile> tiles;
    std::vector<int64_t> row_partials;  // per row: where its first part is; -1: none
    std::vector<int32_t> row_parts;
    std::vector<float> partials;
  };
  struct RowGroup {  // consecutive rows of one sequence
    int32_t sequence, first_row, num_rows;
  };
  void check(const Step& step) const;
  void check_weights() const;
  void check_states(const Step& step) const;
  std::vector<RowGroup> row_groups(int64_t rows_per_group) const;
  void prepare(const Step& step);
  void add_view(const Attend& op);
  View& view(const Reach& reach);
  void lay_tiles(View& view);
  Range seen_pages(const Reach& reach, int32_t first_row, int32_t num_rows) const;
  Range pages(const Tile& tile, const Reach& reach) const;
  void add_tiles(View& view, int32_t sequence, int32_t first_row, int32_t num_rows);
  void work(int thread, int first, int last);
  bool needs_barrier(int operation) const;
  bool is_row_local(int operation) const;
  int64_t num_rows(int operation) const;
  void execute(const Embed& op, int index, int thread);
  void execute(const RmsNorm& op, int index, int thread);
  void execute(const Linear& op, int index, int thread);
  void execute(const Rope& op, int index, int thread);
  void execute(const AppendKv& op, int index, int thread);
  void execute(const Attend& op, int index, int thread);
  void execute(const MergeParts& op, int index, int thread);
  void execute(const GatedProduct& op, int index, int thread);
  void execute(const Quantize& op, int index, int thread);
  void execute(const Gather& op, int index, int thread);
  void execute(const Emit& op, int index, int thread);
  void execute(const Route& op, int index, int thread);
  void execute(const ExpertsUp& op, int index, int thread);
  void execute(const ExpertsDown& op, int index, int thread);
  void execute(const AddGated& op, int index, int thread);
  void execute(const SigmoidGate& op, int index, int thread);
  void execute(const GroupedLinear& op, int index, int thread);
  void execute(const AppendLatent& op, int index, int thread);
  void execute(const AttendLatent& op, int index, int thread);
  void execute(const Select& op, int index, int thread);
  void execute(const LayerNorm& op, int index, int thread);
  void execute(const Compress& op, int index, int thread);
  void execute(const KeepRows& op, int index, int thread);
  void execute(const Repeat& op, int index, int thread);
  void execute(const HyperWeights& op, int index, int thread);
  void execute(const Collapse& op, int index, int thread);
  void execute(const Expand& op, int index, int thread);
  void execute(const Scale& op, int index, int thread);
  void execute(const Add& op, int index, int thread);
  void compress(const Compress& op, int64_t sequence, int64_t entry, float* out);
  void glu(float* gate, float* up, int64_t columns, const Glu& how, float* out) const;
  int64_t visible(const AttendLatent& op, int64_t row) const;
  void list_rows(const AttendLatent& op, int64_t row, int64_t count,
                 std::vector<const uint8_t*>& cached) const;
  uint8_t* cached_row(int64_t store, int64_t sequence, int64_t index) const;
  void execute(const CausalConv& op, int index, int thread);
  void execute(const UnitLength& op, int index, int thread);
  void execute(const DeltaGates& op, int index, int thread);
  void execute(const DeltaRule& op, int index, int thread);
  void multiply_part(const GroupedLinear& op, int64_t rows, int64_t part, Range panels, int thread);
  float* state(int64_t sequence, int64_t offset) const;
  void gather_pairs(const ExpertsUp& op, int thread);
  void expand(const ExpertsUp& op, int64_t expert, Range panels, int thread);
  void contract(const ExpertsDown& op, int64_t rows, Range panels, int thread);
  void reserve(const Weight& weight, int64_t scratch_bytes);
  void quantize_row(BufferId id, int64_t row);
  void quantize_part(BufferId id, int64_t part);
  void quantize_columns(BufferId id, int64_t part, int64_t start, int64_t count);
  void multiply(const Linear& op, int64_t rows, Range panels, int thread);
  const LayerKernels& layer_kernels() const { return *kernels_->layers; }
  uint8_t* page(int64_t layer, int64_t id) const;

  const Kernels* kernels_;
  std::shared_ptr<Pool> pool_;
  const int64_t max_rows_;
  const bool exact_;
  const KvShape kv_;
  int64_t num_pages_ = 0, page_bytes_, num_slots_ = 0, state_floats_ = 0;
  std::unique_ptr<Memory> cache_, states_;
  struct Store {  // row i belongs to the page of the last of its `rate` positions
    int64_t offset, row_bytes, rate;
  };
  std::vector<Store> stores_;
  std::vector<int64_t> slot_positions_;  // the position that a slot's state goes on from
  std::vector<Activation> buffers_;
  std::vector<int64_t> copies_;
  std::vector<std::vector<Codes8>> codes_;  // per buffer, of its rows
  std::vector<std::vector<Codes16>> wide_codes_;
  std::vector<std::unique_ptr<Memory>> buffer_memory_;
  std::vector<Operation> operations_;
  std::vector<bool> on_wanted_rows_;  // per operation
  std::vector<int> segment_ends_;
  std::vector<std::string> segment_names_;
  bool gathered_ = false;
  int64_t routed_tokens_ = INT64_MAX;  // token ids that tables of routers know
  int64_t scratch_bytes_ = 0;
  std::vector<std::unique_ptr<Memory>> scratch_;  // per thread
  std::vector<std::shared_ptr<Memory>> weights_;  // every memory the program reads
  struct Angles {
    const float* pairs = nullptr;
    int64_t num_positions = 0, width = 0;
  };
  std::vector<Angles> angles_;
  const float* factors_ = nullptr;
  int64_t num_factors_ = 0;
  bool needs_factors_ = false;
  std::vector<int64_t> rope_widths_;  // what the operations need of each table
  std::vector<double> seconds_;       // per operation; empty: nobody asked
  // The running step.
  Step step_{};
  std::vector<int32_t> row_sequence_, row_position_;
  std::vector<View> views_;
  Routing routing_;
  std::vector<std::vector<int32_t>> selected_;         // per row: positions, ascending
  std::unique_ptr<std::atomic<int64_t>[]> next_task_;  // per operation
};

}  // namespace wazn
