#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fathom::test {

/// The lines that goldens/make_tokenizer_goldens.py made its hashes from, put together by the same rule from
/// goldens/corpus.json: many scripts, emoji, code, digits, white space, broken UTF-8, special tokens.
class GoldenCorpus {
 public:
  GoldenCorpus();
  [[nodiscard]] std::size_t lines() const { return lines_; }
  [[nodiscard]] std::string line(std::uint64_t index) const;

 private:
  std::size_t lines_ = 0;
  std::vector<std::string> fragments_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranges_;  // of code points, both ends included
};

/// FNV-1a over the ids as little-endian 32-bit numbers.
std::uint32_t hash_of_ids(std::span<const std::int32_t> ids);

/// A file of hashes, one for each line.
std::vector<std::uint32_t> read_hashes(const std::filesystem::path& path);

}  // namespace fathom::test
