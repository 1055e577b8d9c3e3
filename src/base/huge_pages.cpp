#include "base/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace fathom {
namespace {

/// Addresses [begin, end).
struct Range {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};

constexpr std::uintptr_t round_down(std::uintptr_t address) {
  return address / kHugePage * kHugePage;
}
constexpr std::uintptr_t round_up(std::uintptr_t address) {
  return round_down(address + kHugePage - 1);
}

void* address(std::uintptr_t at) {
  return reinterpret_cast<void*>(at);  // NOLINT(performance-no-int-to-ptr): of numbers that /proc gives
}
void unmap(const Range& range) {
  if (range.begin < range.end) munmap(address(range.begin), range.end - range.begin);
}

/// The whole huge pages within files that are mapped read-only and shared, in the order of addresses.
std::vector<Range> pages_of_mapped_files() {
  std::vector<Range> ranges;
  std::ifstream maps("/proc/self/maps");
  // 7f0000000000-7f0000200000 r--s 00000000 fe:00 1234    /some/file
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    Range range;
    char dash = 0;
    std::string access;
    std::string offset;
    std::string device;
    std::uint64_t inode = 0;
    if (!(fields >> std::hex >> range.begin >> dash >> range.end >> access >> offset >> device >> std::dec >>
          inode))
      continue;
    if (access != "r--s" || inode == 0) continue;
    range = {round_up(range.begin), round_down(range.end)};
    if (range.begin < range.end) ranges.push_back(range);
  }
  return ranges;
}

/// Copies what lies at `range` and puts the copy in its place. @return whether it did
bool replace(const Range& range) {
  const std::size_t bytes = range.end - range.begin;
  // More than needed, as nothing but its size says where it will be.
  void* const memory =
      mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const Range copy{round_up(begin), round_up(begin) + bytes};
  unmap({begin, copy.begin});
  unmap({copy.end, begin + bytes + kHugePage});
  void* const target = address(range.begin);
  if (madvise(address(copy.begin), bytes, MADV_HUGEPAGE) == 0) {
    std::memcpy(address(copy.begin), target, bytes);
    // One call takes the file's pages away and puts the copy there: who touches them meanwhile waits for it.
    if (mprotect(address(copy.begin), bytes, PROT_READ) == 0 &&
        mremap(address(copy.begin), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target)
      return true;
  }
  unmap(copy);
  return false;
}

/// A file's huge pages and which of them are copies by now.
class FilePages {
 public:
  explicit FilePages(const Range& range) : range_(range), is_copy_(page(range.end)) {}

  /// The next pages from `at` on, up to `end`, that are no copies: at most `most` bytes; empty at the end.
  [[nodiscard]] Range next(std::uintptr_t at, std::uintptr_t end, std::size_t most) const {
    at = std::max(at, range_.begin);
    end = std::min(end, range_.end);
    while (at < end && is_copy_[page(at)]) at += kHugePage;
    Range run{at, at};
    while (run.end < end && run.end - at < most && !is_copy_[page(run.end)]) run.end += kHugePage;
    return run;
  }
  void mark(const Range& copied) {
    for (std::uintptr_t at = copied.begin; at < copied.end; at += kHugePage) is_copy_[page(at)] = true;
  }

 private:
  [[nodiscard]] std::size_t page(std::uintptr_t at) const { return (at - range_.begin) / kHugePage; }

  Range range_;
  std::vector<bool> is_copy_;
};

}  // namespace

bool has_huge_pages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string choices;
  return std::getline(file, choices) && choices.find("[never]") == std::string::npos;
}

void copy_into_huge_pages(std::span<const std::span<const std::byte>> parts, std::uint64_t limit,
                          std::atomic<std::uint64_t>& copied, const std::stop_token& stop) {
  // At a time little memory beside what it replaces, and not so little that a process has too many areas of
  // memory, as each piece is one.
  constexpr std::uint64_t kLeastPages = 1;
  constexpr std::uint64_t kMostPages = 32;
  constexpr std::uint64_t kPieces = 8192;
  std::uint64_t wanted = 0;
  for (const std::span<const std::byte> part : parts) wanted += part.size();
  const std::uint64_t piece =
      std::clamp(std::min(wanted, limit) / kPieces / kHugePage, kLeastPages, kMostPages) * kHugePage;
  if (!has_huge_pages()) return;
  std::vector<FilePages> files;
  for (const Range& file : pages_of_mapped_files()) files.emplace_back(file);
  for (const std::span<const std::byte> part : parts) {
    const auto begin = reinterpret_cast<std::uintptr_t>(part.data());
    const std::uintptr_t end = round_up(begin + part.size());
    for (FilePages& file : files) {
      std::uintptr_t at = round_down(begin);
      while (true) {
        const Range run = file.next(at, end, std::min(piece, limit / kHugePage * kHugePage));
        if (run.begin == run.end) break;
        if (stop.stop_requested() || !replace(run)) return;
        file.mark(run);
        copied += run.end - run.begin;
        limit -= run.end - run.begin;
        at = run.end;
      }
    }
  }
}

}  // namespace fathom
