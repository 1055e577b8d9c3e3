#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "infer/cache_file.h"

namespace fathom {

/// Pages of cached prefixes in a folder, a file each, named after the tokens up to the page's end: they
/// outlive the process, and come back for the same model and cache type alone. Together they take no more
/// than so many bytes; those used least recently go. A file that is damaged counts as absent, and is removed.
/// Safe to use from several threads, and by several processes in one folder.
class PrefixStore {
 public:
  /// Creates the folder, and finds what is in it. Throws `Error` where that fails.
  PrefixStore(std::filesystem::path folder, std::uint64_t most_bytes, const CacheFileKey& key,
              std::int64_t page_positions);

  [[nodiscard]] bool has(std::span<const std::int32_t> tokens) const;
  /// The content of the page that ends these tokens; none where it is not there.
  std::optional<std::vector<std::byte>> load(std::span<const std::int32_t> tokens);
  /// Keeps the page that ends these tokens. A failure to write is said once in the log and then counts as
  /// full: answers do not depend on it.
  void save(std::span<const std::int32_t> tokens, std::span<const std::byte> page);

  [[nodiscard]] std::uint64_t bytes() const;

 private:
  struct Entry {
    std::uint64_t bytes = 0;
    std::uint64_t used = 0;
  };
  [[nodiscard]] std::string name_of(std::span<const std::int32_t> tokens) const;
  [[nodiscard]] std::filesystem::path path_of(const std::string& name) const { return folder_ / name; }
  void note(const std::string& name, std::uint64_t bytes);
  void forget(const std::string& name);

  std::filesystem::path folder_;
  std::uint64_t most_bytes_;
  CacheFileKey key_;
  std::int64_t page_positions_;
  mutable std::mutex mutex_;
  // Guarded by it.
  std::map<std::string, Entry> entries_;
  std::set<std::pair<std::uint64_t, std::string>> by_use_;
  std::uint64_t bytes_ = 0;
  std::uint64_t clock_ = 0;
  bool has_failed_ = false;
};

}  // namespace fathom
