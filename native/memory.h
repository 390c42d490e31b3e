// Memory that weights live in: a mapped file, or pages of our own. Reading a mapped file that
// shrinks under us would be SIGBUS; a handler gives the thread a page of zeroes instead and marks
// the memory as lost, so that the step that read it can fail with a message.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace wazn {

class Memory {
 public:
  static Memory* map_file(const std::string& path);  // read-only, shared; throws std::runtime_error
  static Memory* allocate(size_t bytes);             // zeroed, committed when first touched
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool is_file() const { return is_file_; }
  bool is_lost() const;

 private:
  Memory(uint8_t* data, size_t size, bool is_file);
  uint8_t* data_;
  size_t size_;
  bool is_file_;
  int slot_ = -1;
};

// Gives what the heap has freed back to the system, where the C library can.
void release_free_memory();

}  // namespace wazn
