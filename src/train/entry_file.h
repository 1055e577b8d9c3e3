#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <type_traits>

#include "base/error.h"

namespace fathom {

/// Reads a file of fixed-size entries through a small buffer: in order, and one here and there. Not mapped,
/// so that a large file does not count as this program's memory.
template <typename Entry>
class EntryFile {
  static_assert(std::is_trivially_copyable_v<Entry>);

 public:
  explicit EntryFile(std::filesystem::path path) : path_(std::move(path)) {
    descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    require(descriptor_ >= 0, "{}: cannot open: {}", path_.string(), errno_text(errno));
  }
  ~EntryFile() { close(descriptor_); }
  EntryFile(const EntryFile&) = delete;
  EntryFile& operator=(const EntryFile&) = delete;

  /// The next entry in order. @return false at the end
  bool next(Entry& entry) {
    if (at_ == count_) {
      begin_ += count_;
      at_ = 0;
      count_ = read(begin_, buffer_.data(), buffer_.size());
      if (count_ == 0) return false;
    }
    entry = buffer_[at_++];
    return true;
  }
  /// The next entry will be the one at `index`.
  void seek(std::uint64_t index) {
    begin_ = index;
    at_ = count_ = 0;
  }
  /// One entry, wherever it lies.
  [[nodiscard]] Entry at(std::uint64_t index) const {
    Entry entry;
    require(read(index, &entry, 1) == 1, "{}: has no entry {}", path_.string(), index);
    return entry;
  }

 private:
  /// @return how many entries were read
  std::size_t read(std::uint64_t first, Entry* entries, std::size_t count) const {
    std::size_t got = 0;
    while (got < count * sizeof(Entry)) {
      const ssize_t more =
          pread(descriptor_, reinterpret_cast<char*>(entries) + got, count * sizeof(Entry) - got,
                static_cast<off_t>(first * sizeof(Entry) + got));
      if (more < 0 && errno == EINTR) continue;
      require(more >= 0, "{}: cannot read: {}", path_.string(), errno_text(errno));
      if (more == 0) break;
      got += static_cast<std::size_t>(more);
    }
    return got / sizeof(Entry);
  }

  std::filesystem::path path_;
  int descriptor_;
  std::array<Entry, (16U << 10U) / sizeof(Entry)> buffer_;
  std::uint64_t begin_ = 0;  // of the buffer in the file, in entries
  std::size_t at_ = 0;
  std::size_t count_ = 0;
};

}  // namespace fathom
