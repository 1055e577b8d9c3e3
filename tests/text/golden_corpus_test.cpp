#include "golden_corpus.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "support/shared_data.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace fathom::test {
namespace {

std::uint64_t splitmix64(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

}  // namespace

GoldenCorpus::GoldenCorpus() {
  const Json corpus = read_json_file(golden("text/goldens/corpus.json"));
  lines_ = corpus.at("lines").get<std::size_t>();
  for (const Json& hex : corpus.at("fragments")) fragments_.push_back(bytes_of_hex(hex.get<std::string>()));
  for (const Json& range : corpus.at("ranges")) ranges_.emplace_back(range.at(0), range.at(1));
}

std::string GoldenCorpus::line(std::uint64_t index) const {
  std::uint64_t state = index * 1000003;
  const auto draw = [&](std::uint64_t bound) { return splitmix64(state) % bound; };
  std::string line;
  for (std::uint64_t parts = 1 + draw(8); parts > 0; --parts) {
    if (draw(4) != 0) {
      line += fragments_[draw(fragments_.size())];
      continue;
    }
    const auto [first, last] = ranges_[draw(ranges_.size())];
    for (std::uint64_t characters = 1 + draw(6); characters > 0; --characters) {
      append_code_point(first + static_cast<std::uint32_t>(draw(last - first + 1)), line);
    }
  }
  return line;
}

std::uint32_t hash_of_ids(std::span<const std::int32_t> ids) {
  std::uint32_t hash = 0x811C9DC5U;
  for (const std::int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ ((static_cast<std::uint32_t>(id) >> shift) & 0xFFU)) * 0x01000193U;
    }
  }
  return hash;
}

std::vector<std::uint32_t> read_hashes(const std::filesystem::path& path) {
  static_assert(std::endian::native == std::endian::little);
  const std::string bytes = read_text_file(path, 1U << 20U);
  std::vector<std::uint32_t> hashes(bytes.size() / 4);
  std::memcpy(hashes.data(), bytes.data(), hashes.size() * 4);
  return hashes;
}

namespace {

// Every line: the ids of the library, the text back from them, and the same text from the stream.
void expect_library_ids(const Tokenizer& tokenizer, const char* hash_file) {
  const GoldenCorpus corpus;
  const std::vector<std::uint32_t> hashes = read_hashes(golden("text/goldens") / hash_file);
  ASSERT_EQ(hashes.size(), corpus.lines());
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    const std::string line = corpus.line(i);
    const std::vector<std::int32_t> ids = tokenizer.encode(line, false);
    ASSERT_EQ(hash_of_ids(ids), hashes[i]) << "line " << i << ": " << testing::PrintToString(line);
    std::string text;
    append_as_utf8(line, text);
    ASSERT_EQ(tokenizer.decode(ids, false), text) << "line " << i;
    StreamDecoder stream(tokenizer, false);
    std::string streamed;
    for (const std::int32_t id : ids) {
      const std::string part = stream.push(id);
      ASSERT_TRUE(is_valid_utf8(part));
      streamed += part;
    }
    ASSERT_EQ(streamed + stream.finish(), text) << "line " << i;
  }
}

TEST(GoldenCorpusTest, SmallTokenizerGivesTheLibrarysIds) {
  expect_library_ids(Tokenizer::load(golden("text/goldens/small")), "small_corpus.bin");
}

TEST(GoldenCorpusTest, DeepSeekTokenizerGivesTheLibrarysIds) {
  FATHOM_SHARED_DATA_OR_SKIP(data);
  expect_library_ids(Tokenizer::load(data / "tokenizers/deepseek-v3"), "deepseek_corpus.bin");
}

}  // namespace
}  // namespace fathom::test
