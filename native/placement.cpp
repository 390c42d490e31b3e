#include "placement.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>

namespace wazn {
namespace {

using WeightSlot = std::shared_ptr<Weight>*;  // where an operation has a weight

const int64_t kSystemPage = sysconf(_SC_PAGESIZE);

int64_t in_pages(int64_t bytes) { return (bytes + kSystemPage - 1) / kSystemPage * kSystemPage; }

int64_t panel_size(const Weight& weight) {
  return panel_bytes(weight.matrix.layout, weight.matrix.columns);
}

int64_t size(const Weight& weight) {
  return weight.count * num_panels(weight.matrix.rows) * panel_size(weight);
}

std::vector<WeightSlot> weights_of(Operation& operation) {
  std::vector<WeightSlot> slots;
  if (auto* linear = std::get_if<Linear>(&operation))
    for (Product& product : linear->products) slots.push_back(&product.weight);
  if (auto* route = std::get_if<Route>(&operation)) slots = {&route->weight};
  if (auto* up = std::get_if<ExpertsUp>(&operation)) slots = {&up->gate, &up->up};
  if (auto* down = std::get_if<ExpertsDown>(&operation)) slots = {&down->weight};
  if (auto* grouped = std::get_if<GroupedLinear>(&operation)) slots = {&grouped->weight};
  return slots;
}

// Calls f(slot, panels) for all that `thread` reads; panels of a stack are counted through it.
template <class F>
void for_each_own(Operation& operation, int thread, int num_threads, F&& f) {
  if (auto* linear = std::get_if<Linear>(&operation))
    return split(linear->products, own_panels(*linear, thread, num_threads),
                 [&](Product& product, Range panels) { f(&product.weight, panels); });
  for (const WeightSlot slot : weights_of(operation)) {
    const Matrix& matrix = (*slot)->matrix;
    const Range panels = own_panels(matrix, thread, num_threads);
    for (int64_t i = 0; i < (*slot)->count; ++i) {
      const int64_t before = i * num_panels(matrix.rows);
      f(slot, Range{before + panels.first, before + panels.last});
    }
  }
}

// Copies the pages that begin in these panels. Every page has one writer.
void copy_pages(const Weight& from, const Weight& to, Range panels) {
  const int64_t panel = panel_size(from);
  const int64_t first = in_pages(panels.first * panel);
  const int64_t last = std::min(in_pages(panels.last * panel), size(from));
  if (first < last)
    std::memcpy((uint8_t*)to.matrix.data + first, from.matrix.data + first, last - first);
}

}  // namespace

Range own_panels(const Linear& op, int thread, int num_threads) {
  int64_t total = 0;
  for (const Product& product : op.products) total += num_panels(product.weight->matrix.rows);
  return share(total, thread, num_threads);
}

Range own_panels(const Matrix& matrix, int thread, int num_threads) {
  return share(num_panels(matrix.rows), thread, num_threads);
}

int64_t copied_bytes(std::vector<Operation>& operations) {
  int64_t bytes = 0;
  for (Operation& operation : operations)
    for (const WeightSlot slot : weights_of(operation)) bytes += in_pages(size(**slot));
  return bytes;
}

void copy_weights(std::vector<Operation>& operations, Pool& pool) {
  const std::shared_ptr<Memory> memory(Memory::allocate(copied_bytes(operations)));
  // A huge page would hold the panels of many threads.
  madvise(memory->data(), memory->size(), MADV_NOHUGEPAGE);
  std::map<WeightSlot, std::shared_ptr<Weight>> copies;
  uint8_t* next = memory->data();
  for (Operation& operation : operations)
    for (const WeightSlot slot : weights_of(operation)) {
      copies[slot] = std::make_shared<Weight>(**slot);
      copies[slot]->memory = memory;
      copies[slot]->matrix.data = next;
      next += in_pages(size(**slot));
    }
  pool.run([&](int thread) {
    for (Operation& operation : operations)
      for_each_own(operation, thread, pool.size(), [&](WeightSlot slot, Range panels) {
        copy_pages(**slot, *copies.at(slot), panels);
      });
  });
  for (auto& [slot, copy] : copies) *slot = std::move(copy);
}

}  // namespace wazn
