#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace fathom {

/// Pages of cached prefixes in ordinary memory, found by the tokens up to the page's end. Together, tokens
/// and all, they take no more than so many bytes; those used least recently go.
class PrefixMemory {
 public:
  struct Page {
    std::vector<std::int32_t> tokens;
    std::vector<std::byte> bytes;
  };

  explicit PrefixMemory(std::uint64_t most_bytes) : most_bytes_(most_bytes) {}

  [[nodiscard]] bool has(std::span<const std::int32_t> tokens) const;
  /// The content of the page that ends these tokens, which counts as used now; null where it is not there.
  /// Valid until the next call that changes anything.
  const std::vector<std::byte>* find(std::span<const std::int32_t> tokens);
  /// Keeps a page, as the one that was used last.
  /// @return  what has to go for it, those used longest ago first; itself where it is larger than the budget
  std::vector<Page> put(Page page);
  /// Gives up all pages. @return  them, those used longest ago first
  std::vector<Page> take_all();

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::int64_t pages() const { return static_cast<std::int64_t>(by_use_.size()); }

 private:
  using Place = std::list<Page>::iterator;

  static std::uint64_t size_of(const Page& page);
  Page remove(Place place);

  std::uint64_t most_bytes_;
  std::uint64_t bytes_ = 0;
  std::list<Page> by_use_;                           // the newest last
  std::unordered_map<std::uint64_t, Place> places_;  // by a sum of the tokens, which are compared beside
};

}  // namespace fathom
