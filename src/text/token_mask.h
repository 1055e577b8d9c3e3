#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fathom {

/// Which tokens of a vocabulary are allowed.
class TokenMask {
 public:
  static constexpr std::size_t kBits = 64;

  TokenMask() = default;
  /// None is.
  explicit TokenMask(std::size_t tokens) : words_((tokens + kBits - 1) / kBits), tokens_(tokens) {}

  [[nodiscard]] std::size_t size() const { return tokens_; }
  /// @param token  any number: what is beyond the vocabulary is not allowed
  [[nodiscard]] bool allows(std::size_t token) const {
    return token < tokens_ && ((words_[token / kBits] >> (token % kBits)) & 1U) != 0;
  }
  void allow(std::size_t token) { words_[token / kBits] |= std::uint64_t{1} << (token % kBits); }
  /// Also what `other`, of the same size, allows.
  void add(const TokenMask& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  }
  void clear() { words_.assign(words_.size(), 0); }

  [[nodiscard]] std::size_t count() const {
    std::size_t count = 0;
    for (const std::uint64_t word : words_) count += static_cast<std::size_t>(std::popcount(word));
    return count;
  }
  /// Calls `use` with each token that is allowed, in ascending order.
  template <typename Use>
  void for_each(const Use& use) const {
    for (std::size_t i = 0; i < words_.size(); ++i)
      for (std::uint64_t word = words_[i]; word != 0; word &= word - 1)
        use(i * kBits + static_cast<std::size_t>(std::countr_zero(word)));
  }

  bool operator==(const TokenMask&) const = default;

 private:
  std::vector<std::uint64_t> words_;
  std::size_t tokens_ = 0;
};

}  // namespace fathom
