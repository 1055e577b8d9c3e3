#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "text/hash.h"

namespace fathom {

/// The tokens of words met lately: a fixed 2 MiB in which a new word takes the place of the one that hashes
/// alike, one cache line a word. Long words are not kept.
class WordCache {
 public:
  WordCache() : entries_(kEntries) {}

  /// @return the tokens of `word`, valid until the next `keep`; empty when it is not here
  [[nodiscard]] std::span<const std::int32_t> find(std::string_view word) const {
    if (word.size() > kMaxBytes) return {};
    const Entry& entry = entries_[slot(word)];
    const bool same =
        entry.bytes == word.size() && std::memcmp(entry.word.data(), word.data(), word.size()) == 0;
    return same ? std::span(entry.ids).first(entry.count) : std::span<const std::int32_t>{};
  }

  void keep(std::string_view word, std::span<const std::int32_t> ids) {
    if (word.empty() || word.size() > kMaxBytes || ids.empty() || ids.size() > kMaxIds) return;
    Entry& entry = entries_[slot(word)];
    entry.bytes = static_cast<std::uint8_t>(word.size());
    entry.count = static_cast<std::uint8_t>(ids.size());
    std::memcpy(entry.word.data(), word.data(), word.size());
    std::memcpy(entry.ids.data(), ids.data(), ids.size_bytes());
  }

 private:
  static constexpr std::size_t kEntries = std::size_t{1} << 15;
  static constexpr std::size_t kMaxBytes = 30;
  static constexpr std::size_t kMaxIds = 8;

  struct alignas(64) Entry {
    std::uint8_t bytes = 0;  // 0: free
    std::uint8_t count = 0;
    std::array<char, kMaxBytes> word;
    std::array<std::int32_t, kMaxIds> ids;
  };

  static std::size_t slot(std::string_view word) { return hash_bytes(word) & (kEntries - 1); }

  std::vector<Entry> entries_;
};

}  // namespace fathom
