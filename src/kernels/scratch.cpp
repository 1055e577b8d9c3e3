#include "kernels/scratch.h"

#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <new>

#include "base/huge_pages.h"

namespace fathom::kernels {
namespace {

struct Freed {
  void operator()(float* memory) const { std::free(memory); }
};

struct Scratch {
  std::unique_ptr<float, Freed> memory;
  std::size_t count = 0;
};

thread_local Scratch scratch;

}  // namespace

float* thread_scratch(std::size_t count) {
  if (count <= scratch.count) return scratch.memory.get();
  const std::size_t alignment = count * sizeof(float) >= kHugePage ? kHugePage : 64;
  const std::size_t bytes = (count * sizeof(float) + alignment - 1) / alignment * alignment;
  scratch = {};
  scratch.memory.reset(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
  if (!scratch.memory) throw std::bad_alloc();
  // Fewer entries of the translation buffer, where the system grants it; nothing depends on it.
  if (alignment == kHugePage) (void)madvise(scratch.memory.get(), bytes, MADV_HUGEPAGE);
  scratch.count = bytes / sizeof(float);
  return scratch.memory.get();
}

}  // namespace fathom::kernels
