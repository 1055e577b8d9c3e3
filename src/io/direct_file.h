#pragma once

#include <cstdint>
#include <filesystem>

namespace fathom {

/// A regular file to read at any place, past the page cache where the file system can (O_DIRECT): then
/// places, lengths and memory must be multiples of `kDirectAlignment`.
class DirectFile {
 public:
  static constexpr std::uint64_t kDirectAlignment = 4096;

  /// Throws `Error` when the file cannot be opened or is not a regular file.
  explicit DirectFile(const std::filesystem::path& path);
  ~DirectFile();
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;

  [[nodiscard]] int descriptor() const { return descriptor_; }
  /// False: reads go through the page cache.
  [[nodiscard]] bool is_direct() const { return is_direct_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  bool is_direct_ = false;
};

}  // namespace fathom
