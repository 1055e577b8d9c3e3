#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// Tokens by id, in two forms: as files spell them (`text/byte_alphabet.h`) and as the bytes they stand for.
class Vocabulary {
 public:
  /// @param tokens  spelled, by id; an empty one is a hole: an id without a token. Spellings are distinct.
  explicit Vocabulary(const std::vector<std::string>& tokens);

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(spelled_.size()); }
  /// False beyond the vocabulary and in a hole.
  [[nodiscard]] bool contains(std::int64_t id) const;
  /// @param id  one that the vocabulary contains
  [[nodiscard]] std::string_view spelling(std::int64_t id) const { return view(spelled_, id); }
  [[nodiscard]] std::string_view bytes(std::int64_t id) const { return view(bytes_, id); }
  [[nodiscard]] std::optional<std::int32_t> find_spelling(std::string_view spelled) const;

 private:
  struct Extent {
    std::uint64_t begin = 0;
    std::uint64_t length = 0;
  };
  [[nodiscard]] std::string_view view(const std::vector<Extent>& extents, std::int64_t id) const {
    const Extent& extent = extents[static_cast<std::size_t>(id)];
    return std::string_view(arena_).substr(extent.begin, extent.length);
  }

  std::string arena_;
  std::vector<Extent> spelled_;
  std::vector<Extent> bytes_;
  std::vector<std::int32_t> index_;  // open addressing by the hash of the spelling; -1 is free
};

}  // namespace fathom
