#include "text/vocabulary.h"

#include "text/byte_alphabet.h"
#include "text/hash.h"

namespace fathom {

Vocabulary::Vocabulary(const std::vector<std::string>& tokens) : index_(table_size_for(tokens.size()), -1) {
  const auto store = [&](std::string_view text) {
    const Extent extent{arena_.size(), text.size()};
    arena_ += text;
    return extent;
  };
  spelled_.reserve(tokens.size());
  bytes_.reserve(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::string& token = tokens[id];
    spelled_.push_back(store(token));
    const std::string bytes = bytes_of_spelling(token);
    bytes_.push_back(bytes == token ? spelled_.back() : store(bytes));
    if (token.empty()) continue;
    std::size_t slot = hash_bytes(token) & (index_.size() - 1);
    while (index_[slot] >= 0) slot = (slot + 1) & (index_.size() - 1);
    index_[slot] = static_cast<std::int32_t>(id);
  }
}

bool Vocabulary::contains(std::int64_t id) const {
  return id >= 0 && id < size() && !spelling(id).empty();
}

std::optional<std::int32_t> Vocabulary::find_spelling(std::string_view spelled) const {
  if (spelled.empty()) return std::nullopt;
  for (std::size_t slot = hash_bytes(spelled) & (index_.size() - 1); index_[slot] >= 0;
       slot = (slot + 1) & (index_.size() - 1)) {
    if (spelling(index_[slot]) == spelled) return index_[slot];
  }
  return std::nullopt;
}

}  // namespace fathom
