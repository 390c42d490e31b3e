// The recorded program: what one forward step does, as a list of operations in named segments.
// Python records it once (wazn.models.recorder); a step runs a range of segments over all rows of
// a batch in one call, on all threads, with barriers between operations that need them.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "kernels.h"
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
struct Rope {
  BufferId x;
  int64_t heads, head_dim;
  bool interleaved;
};
struct AppendKv {
  BufferId key, value;
  int64_t layer;
};
struct Attend {
  BufferId query, out;
  int64_t layer, heads;
  float scale;
};
struct MergeParts {  // finishes rows whose parts were computed apart
  BufferId out;
  int64_t heads;
};
struct SwiGlu {
  BufferId gate, up, out;
};
struct Quantize {  // fills the quantised form of a buffer whose floats another operation wrote
  BufferId x;
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
};
struct ExpertsUp {  // silu(gate) * up, a row of `out` for every pair of a row and its expert
  BufferId in, gathered, out;  // gathered: rows in the order of pairs for float products, or none
  std::shared_ptr<Weight> gate, up;
};
struct ExpertsDown {  // sums a row's products, each times the router's weight, by ascending expert
  BufferId in, out;
  std::shared_ptr<Weight> weight;
  bool accumulate;  // begin with what is in `out`
};
struct AddGated {  // out += sigmoid(gate) * in, one gate per row
  BufferId gate, in, out;
};
using Operation = std::variant<Embed, RmsNorm, Linear, Rope, AppendKv, Attend, MergeParts, SwiGlu,
                               Quantize, Gather, Emit, Route, ExpertsUp, ExpertsDown, AddGated>;

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
  float* result;  // (num_wanted, result_columns)
};

int64_t expert_scratch_bytes(int64_t columns, int64_t max_rows);

class Program {
 public:
  Program(const Kernels* kernels, std::shared_ptr<Pool> pool, int64_t max_rows, bool exact,
          KvShape kv);

  // `num_digits` of its quantised form, 0 for floats only; `copies` rows for each row of a step: 1,
  // or the experts of a row.
  BufferId add_buffer(int64_t columns, int64_t num_digits, int64_t copies = 1);
  void add(Operation operation);
  void end_segment(const std::string& name);  // operations since the last one
  // Has products read copies of their weights that lie where the pool's threads run (placement.h).
  int64_t copied_bytes();
  void copy_weights();
  void open_cache(int64_t num_pages);
  // angles: (positions, head_dim / 2, 2) cosines and sines; must outlive the next step.
  void set_angles(const float* angles, int64_t num_positions);
  void run(int first_segment, int last_segment, const Step& step);
  // From now on, adds up how long each operation takes, the wait at its barrier included.
  void start_profile() { seconds_.assign(operations_.size(), 0.0); }
  const std::vector<double>& seconds() const { return seconds_; }
  int num_operations() const { return (int)operations_.size(); }

  const std::vector<std::string>& segments() const { return segment_names_; }
  Activation& buffer(BufferId id) { return buffers_[id]; }
  int64_t copies(BufferId id) const { return copies_[id]; }
  const Routing& routing() const { return routing_; }
  // Whether products with this weight read floats, not the quantised form.
  bool reads_floats(const Weight& weight) const {
    return exact_ || weight.matrix.layout <= Layout::kBF16;
  }
  int num_buffers() const { return (int)buffers_.size(); }
  const KvShape& kv() const { return kv_; }
  int64_t max_rows() const { return max_rows_; }

 private:
  struct ExpertScratch;
  struct Tile {  // rows of one sequence that attend together, to some parts of its positions
    int32_t sequence, first_row, num_rows, part_pages, first_part, last_part;
    int64_t partials;  // where its partial results are; -1: none
  };
  void check(const Step& step) const;
  void check_weights() const;
  int64_t attention_group() const;
  void prepare(const Step& step);
  void add_tiles(int32_t sequence, int32_t first_row, int32_t num_rows, int64_t head_floats);
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
  void execute(const SwiGlu& op, int index, int thread);
  void execute(const Quantize& op, int index, int thread);
  void execute(const Gather& op, int index, int thread);
  void execute(const Emit& op, int index, int thread);
  void execute(const Route& op, int index, int thread);
  void execute(const ExpertsUp& op, int index, int thread);
  void execute(const ExpertsDown& op, int index, int thread);
  void execute(const AddGated& op, int index, int thread);
  void gather_pairs(const ExpertsUp& op, int thread);
  void expand(const ExpertsUp& op, int64_t expert, Range panels, int thread);
  void contract(const ExpertsDown& op, int64_t rows, Range panels, int thread);
  void reserve(const Weight& weight, int64_t scratch_bytes);
  void quantize_row(BufferId id, int64_t row);
  void multiply(const Linear& op, int64_t rows, Range panels, int thread);
  uint8_t* page(int64_t layer, int64_t id) const;

  const Kernels* kernels_;
  std::shared_ptr<Pool> pool_;
  const int64_t max_rows_;
  const bool exact_;
  const KvShape kv_;
  int64_t num_pages_ = 0;
  std::unique_ptr<Memory> cache_;
  std::vector<Activation> buffers_;
  std::vector<int64_t> copies_;
  std::vector<std::vector<Digits>> digits_;  // per buffer, of its rows
  std::vector<std::unique_ptr<Memory>> buffer_memory_;
  std::vector<Operation> operations_;
  std::vector<bool> on_wanted_rows_;  // per operation
  std::vector<int> segment_ends_;
  std::vector<std::string> segment_names_;
  bool gathered_ = false;
  int64_t scratch_bytes_ = 0;
  std::vector<std::unique_ptr<Memory>> scratch_;  // per thread
  std::vector<std::shared_ptr<Memory>> weights_;  // every memory the program reads
  const float* angles_ = nullptr;
  int64_t num_angles_ = 0;
  std::vector<double> seconds_;  // per operation; empty: nobody asked
  // The running step.
  Step step_{};
  std::vector<int32_t> row_sequence_, row_position_;
  std::vector<Tile> tiles_;
  std::vector<int64_t> row_partials_;  // per row: where its first part is; -1: none
  std::vector<int32_t> row_parts_;
  std::vector<float> partials_;
  Routing routing_;
  std::unique_ptr<std::atomic<int64_t>[]> next_task_;  // per operation
};

}  // namespace wazn
