#include "memory.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <cerrno>
#include <cstring>
#include <mutex>
#include <stdexcept>

namespace wazn {
namespace {

// The handler may only touch lock-free data: a fixed table of mapped ranges.
struct Range {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> is_lost{false};
};
constexpr int kMaxRanges = 256;
Range ranges[kMaxRanges];
std::mutex ranges_mutex;
struct sigaction previous_action;
const uintptr_t kPageMask = ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);

void on_bus_error(int signal_number, siginfo_t* info, void* context) {
  const uintptr_t address = (uintptr_t)info->si_addr;
  for (Range& range : ranges) {
    if (address < range.begin.load() || address >= range.end.load()) continue;
    range.is_lost.store(true);
    const uintptr_t page = address & kPageMask;
    if (mmap((void*)page, ~kPageMask + 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0) != MAP_FAILED)
      return;
  }
  if (previous_action.sa_flags & SA_SIGINFO) {
    previous_action.sa_sigaction(signal_number, info, context);
    return;
  }
  signal(SIGBUS, SIG_DFL);  // not ours: let it happen again without us
}

int watch(uintptr_t begin, uintptr_t end) {
  std::lock_guard lock(ranges_mutex);
  static const bool installed = [] {
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    return sigaction(SIGBUS, &action, &previous_action) == 0;
  }();
  for (int i = 0; installed && i < kMaxRanges; ++i) {
    if (ranges[i].begin.load() != 0) continue;
    ranges[i].is_lost.store(false);
    ranges[i].end.store(end);
    ranges[i].begin.store(begin);
    return i;
  }
  throw std::runtime_error("too many mapped weight files are open in this process");
}

}  // namespace

Memory::Memory(uint8_t* data, size_t size, bool is_file)
    : data_(data), size_(size), is_file_(is_file) {}

Memory* Memory::map_file(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw std::runtime_error("cannot open " + path + ": " + std::strerror(errno));
  struct stat status;
  const bool known = fstat(file, &status) == 0 && status.st_size > 0;
  void* data = known ? mmap(nullptr, status.st_size, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  close(file);
  if (data == MAP_FAILED) throw std::runtime_error("cannot map " + path + " into memory");
  madvise(data, status.st_size, MADV_HUGEPAGE);  // what is not in memory yet is read in such pages
  Memory* memory = new Memory((uint8_t*)data, status.st_size, true);
  memory->slot_ = watch((uintptr_t)data, (uintptr_t)data + status.st_size);
  return memory;
}

Memory* Memory::allocate(size_t bytes) {
  void* data = mmap(nullptr, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    throw std::runtime_error("cannot reserve " + std::to_string(bytes) + " bytes of memory");
  madvise(data, bytes, MADV_HUGEPAGE);
  return new Memory((uint8_t*)data, bytes, false);
}

Memory::~Memory() {
  if (slot_ >= 0) ranges[slot_].begin.store(0);
  munmap(data_, size_ ? size_ : 1);
}

bool Memory::is_lost() const { return slot_ >= 0 && ranges[slot_].is_lost.load(); }

void release_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace wazn
