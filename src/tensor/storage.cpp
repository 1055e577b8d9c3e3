#include "tensor/storage.h"

#include <sys/mman.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/huge_pages.h"

namespace fathom {
namespace {

constexpr std::size_t kAlignment = 64;
/// What a process can address at most; more is a mistake, not a shortage.
constexpr std::size_t kMostBytes = std::size_t{1} << 47U;
constexpr std::size_t kHugeBlock = 4 * kHugePage;

/// Blocks come in sizes of 1, 1.25, 1.5 and 1.75 times a power of two: at most a quarter is wasted.
std::size_t block_size(std::size_t bytes) {
  if (bytes <= 256) return 256;
  const std::size_t step = std::bit_floor(bytes) / 4;  // a power of two
  return (bytes + step - 1) & ~(step - 1);
}

class IdleBlocks {
 public:
  void* take(std::size_t size) {
    const std::scoped_lock lock(mutex_);
    const auto found = blocks_.find(size);
    if (found == blocks_.end() || found->second.empty()) return nullptr;
    void* block = found->second.back();
    found->second.pop_back();
    bytes_ -= size;
    return block;
  }

  void give(void* block, std::size_t size) {
    const std::scoped_lock lock(mutex_);
    blocks_[size].push_back(block);
    bytes_ += size;
  }

  void release() {
    const std::scoped_lock lock(mutex_);
    for (auto& [size, blocks] : blocks_)
      for (void* block : blocks) std::free(block);
    blocks_.clear();
    bytes_ = 0;
  }

  std::size_t bytes() {
    const std::scoped_lock lock(mutex_);
    return bytes_;
  }

 private:
  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> blocks_;
  std::size_t bytes_ = 0;
};

/// Never destroyed: tensors of static lifetime may outlive any static object.
IdleBlocks& idle_blocks() {
  static auto* blocks = new IdleBlocks;
  return *blocks;
}

/// A fresh block; null when memory is out. Large ones begin on a boundary of huge pages and ask for them: a
/// pass over a tensor of some 100 MB then takes one entry of the TLB for 2 MiB, not for 4 KiB, and one page
/// fault where it took 512.
void* fresh_block(std::size_t size) {
  if (size < kHugeBlock) return std::aligned_alloc(kAlignment, size);
  void* block = std::aligned_alloc(kHugePage, (size + kHugePage - 1) / kHugePage * kHugePage);
  if (block != nullptr) madvise(block, size, MADV_HUGEPAGE);  // a wish: where it fails, small pages do
  return block;
}

}  // namespace

std::shared_ptr<void> allocate_storage(std::size_t bytes) {
  require(bytes <= kMostBytes, "cannot allocate {} bytes", bytes);
  const std::size_t size = block_size(bytes);
  void* block = idle_blocks().take(size);
  if (block == nullptr) block = fresh_block(size);
  if (block == nullptr) {
    release_idle_storage();
    block = fresh_block(size);
  }
  require(block != nullptr, "out of memory: cannot allocate {} bytes", bytes);
  return {block, [size](void* freed) { idle_blocks().give(freed, size); }};
}

std::shared_ptr<void> allocate_untouched(std::size_t bytes) {
  const std::size_t size = bytes + kHugePage;  // for the boundary
  void* pages = bytes > kMostBytes ? MAP_FAILED
                                   : mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(pages != MAP_FAILED, "out of memory: cannot allocate {} bytes", bytes);
  madvise(pages, size, MADV_HUGEPAGE);  // a wish: where it fails, small pages do
  const std::size_t beyond = reinterpret_cast<std::uintptr_t>(pages) % kHugePage;
  void* begin = static_cast<std::byte*>(pages) + (beyond == 0 ? 0 : kHugePage - beyond);
  return {begin, [pages, size](void*) { munmap(pages, size); }};
}

std::size_t idle_storage_bytes() {
  return idle_blocks().bytes();
}

void release_idle_storage() {
  idle_blocks().release();
}

}  // namespace fathom
