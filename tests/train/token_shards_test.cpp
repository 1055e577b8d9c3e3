#include "train/token_shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <numeric>
#include <string>

#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

std::string read_bytes(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

class TokenShardTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "train-00000.tokens";

  /// Three documents of 1, 2 and 3 tokens.
  void write_small(std::int64_t vocab_size) const {
    TokenShardWriter writer(file_, vocab_size, 0xABCDU);
    writer.add_document(std::vector<std::int32_t>{5});
    writer.add_document(std::vector<std::int32_t>{1, 2});
    writer.add_document(std::vector<std::int32_t>{7, 8, static_cast<std::int32_t>(vocab_size - 1)});
    writer.finish();
  }

  /// Rewrites the checksum, for damage that the checksum alone would hide.
  static void fix_checksum(std::string& bytes) {
    const std::uint64_t sum = checksum(std::string_view(bytes).substr(0, bytes.size() - 16));
    std::memcpy(bytes.data() + bytes.size() - 16, &sum, sizeof(sum));
  }
};

TEST_F(TokenShardTest, ReadsBackWhatWasWrittenInBothWidths) {
  for (const std::int64_t vocab : {10L, 65'536L, 65'537L, 129'280L}) {
    write_small(vocab);
    const TokenShard shard(file_);
    EXPECT_EQ(shard.tokens(), 6);
    EXPECT_EQ(shard.documents(), 3);
    EXPECT_EQ(shard.vocab_size(), vocab);
    EXPECT_EQ(shard.tokenizer_hash(), 0xABCDU);
    std::vector<std::int32_t> tokens(6);
    shard.read(0, tokens);
    EXPECT_THAT(tokens, testing::ElementsAre(5, 1, 2, 7, 8, vocab - 1));
    std::vector<std::int64_t> offsets;
    for (std::int64_t i = 0; i <= shard.documents(); ++i) offsets.push_back(shard.document_offset(i));
    EXPECT_THAT(offsets, testing::ElementsAre(0, 1, 3, 6));
    EXPECT_EQ(std::filesystem::file_size(file_), 32U + (vocab <= 65'536 ? 16U : 24U) + 4 * 8U + 32U);
  }
}

TEST_F(TokenShardTest, ReadsBackMoreThanTheWriterBuffers) {
  std::vector<std::int32_t> tokens(1'500'000);
  std::iota(tokens.begin(), tokens.end(), 0);
  for (auto& token : tokens) token %= 50'000;
  TokenShardWriter writer(file_, 50'000, 1);
  writer.add_document(tokens);
  writer.finish();
  std::vector<std::int32_t> read(tokens.size());
  TokenShard(file_).read(0, read);
  EXPECT_EQ(read, tokens);
}

TEST_F(TokenShardTest, RefusesAnyFlippedByteAndNamesTheFile) {
  write_small(10);
  const std::string good = read_bytes(file_);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write_bytes(file_, bad);
    EXPECT_THAT(error_of([&] { TokenShard shard(file_); }), HasSubstr(file_.string())) << "byte " << at;
  }
}

TEST_F(TokenShardTest, RefusesEveryTruncation) {
  write_small(10);
  const std::string good = read_bytes(file_);
  for (std::size_t size = 0; size < good.size(); ++size) {
    write_bytes(file_, good.substr(0, size));
    EXPECT_THAT(error_of([&] { TokenShard shard(file_); }), HasSubstr(file_.string())) << size << " bytes";
  }
}

TEST_F(TokenShardTest, RefusesATokenOutsideTheVocabularyEvenWithAMatchingChecksum) {
  write_small(10);
  std::string bad = read_bytes(file_);
  bad[32 + 2] = 10;  // the second token
  fix_checksum(bad);
  write_bytes(file_, bad);
  EXPECT_THAT(error_of([&] { TokenShard shard(file_); }),
              HasSubstr("token 10 is outside the vocabulary of 10"));
}

TEST_F(TokenShardTest, RefusesOffsetsOutOfOrderEvenWithAMatchingChecksum) {
  write_small(10);
  std::string bad = read_bytes(file_);
  bad[32 + 16 + 8] = 3;  // the second document begins where the third does
  fix_checksum(bad);
  write_bytes(file_, bad);
  EXPECT_THAT(error_of([&] { TokenShard shard(file_); }), HasSubstr("the offset of document 2"));
}

TEST_F(TokenShardTest, RefusesCountsThatWouldOverflow) {
  write_small(10);
  const std::string good = read_bytes(file_);
  for (const std::uint64_t count : {UINT64_MAX, UINT64_MAX / 2, std::uint64_t{1} << 60U}) {
    for (const std::size_t field : {32U, 24U}) {
      std::string bad = good;
      std::memcpy(bad.data() + bad.size() - field, &count, sizeof(count));
      fix_checksum(bad);
      write_bytes(file_, bad);
      EXPECT_THAT(error_of([&] { TokenShard shard(file_); }), HasSubstr("do not fit"));
    }
  }
}

TEST_F(TokenShardTest, WriterRefusesWhatItCouldNotReadBack) {
  TokenShardWriter writer(file_, 10, 1);
  EXPECT_THAT(error_of([&] {
                writer.add_document(std::vector<std::int32_t>{3, 10});
              }),
              HasSubstr("token 10"));
  EXPECT_THAT(error_of([&] { writer.add_document(std::vector<std::int32_t>{-1}); }), HasSubstr("token -1"));
  EXPECT_THAT(error_of([&] { writer.add_document({}); }), HasSubstr("without tokens"));
}

TEST_F(TokenShardTest, AbandonedWriterLeavesNoFile) {
  { TokenShardWriter(file_, 10, 1).add_document(std::vector<std::int32_t>{1}); }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(TokenShardTest, AFullDiskIsNamedAndLeavesNoFile) {
  const std::vector<std::int32_t> tokens(100'000, 3);
  {
    const test::FileSizeLimit limit(50'000);
    EXPECT_THAT(error_of([&] {
                  TokenShardWriter writer(file_, 10, 1);
                  writer.add_document(tokens);
                  writer.finish();
                }),
                HasSubstr("train-00000.tokens: cannot write"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(TokenShardTest, ReadOutsideTheShardIsAnError) {
  write_small(10);
  const TokenShard shard(file_);
  std::vector<std::int32_t> out(2);
  EXPECT_THROW(shard.read(5, out), Error);
  EXPECT_THROW(shard.read(-1, out), Error);
  EXPECT_NO_THROW(shard.read(4, out));
}

}  // namespace
}  // namespace fathom
