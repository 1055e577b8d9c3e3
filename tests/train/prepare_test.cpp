#include "train/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/file.h"
#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/shared_data.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_writer.h"
#include "train/batch_loader.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

class PrepareTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  ThreadPool pool_{2};
  std::filesystem::path out_ = folder_.path() / "data";

  void SetUp() override {
    create_folders(out_);
    BpeTrainer trainer({.vocab_size = 300});
    trainer.add("the cat sat on the mat and the dog sat on the cat");
    write_tokenizer(trainer.finish(), out_);
  }

  std::filesystem::path file(const std::string& name, const std::string& content) const {
    write_file_atomically(folder_.path() / name, content);
    return folder_.path() / name;
  }

  DataManifest prepare(const PrepareOptions& options, std::size_t threads = 2) {
    ThreadPool pool(threads);
    return prepare_data(options, pool, [](const PrepareProgress&) {});
  }

  PrepareOptions options(const std::filesystem::path& input, double held_out) const {
    PrepareOptions options;
    options.corpus.inputs = {input};
    options.output = out_;
    options.held_out = held_out;
    return options;
  }

  std::vector<std::int32_t> tokens(std::string_view split) {
    const TokenDataset data(out_, load_data_manifest(out_), split, pool_);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(data.tokens()));
    data.read(0, ids);
    return ids;
  }

  static std::string lines(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "{\"text\": \"the cat " + std::to_string(i) + " sat\"}\n";
    return text;
  }
};

TEST_F(PrepareTest, ADocumentStandsBetweenBosAndEos) {
  prepare(options(file("a.txt", "the cat sat"), 0));
  const Tokenizer tokenizer = Tokenizer::load(out_);
  const std::vector<std::int32_t> ids = tokens("train");
  EXPECT_EQ(ids.front(), tokenizer.bos());
  EXPECT_EQ(ids.back(), tokenizer.eos());
  EXPECT_EQ(tokenizer.decode(ids), "the cat sat");
}

TEST_F(PrepareTest, TheTailOfATextFileIsHeldOut) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "line " + std::to_string(i) + "\n";
  const DataManifest manifest = prepare(options(file("a.txt", text), 0.1));
  const Tokenizer tokenizer = Tokenizer::load(out_);
  const std::string train = tokenizer.decode(tokens("train"));
  const std::string held_out = tokenizer.decode(tokens("held_out"));
  EXPECT_EQ(train + held_out, text);
  EXPECT_THAT(held_out, testing::StartsWith("line "));
  EXPECT_NEAR(static_cast<double>(held_out.size()), 0.1 * static_cast<double>(text.size()), 8);
  EXPECT_EQ(manifest.train.bytes, static_cast<std::int64_t>(train.size()));
  EXPECT_EQ(manifest.held_out.bytes, static_cast<std::int64_t>(held_out.size()));
}

TEST_F(PrepareTest, DocumentsAreHeldOutByTheirText) {
  const auto input = file("a.jsonl", lines(2000));
  const DataManifest manifest = prepare(options(input, 0.1));
  EXPECT_EQ(manifest.train.documents + manifest.held_out.documents, 2000);
  // 200 expected, standard deviation 13.4; the bound is five of them.
  EXPECT_NEAR(static_cast<double>(manifest.held_out.documents), 200, 67);
}

TEST_F(PrepareTest, ThreadsDoNotChangeAByte) {
  const auto input = file("a.jsonl", lines(3000));
  std::vector<std::string> shards;
  for (const std::size_t threads : {1U, 4U}) {
    std::filesystem::remove(out_ / "manifest.json");
    prepare(options(input, 0.1), threads);
    shards.push_back(read_text_file(out_ / "train-00000.tokens", 1U << 24U) +
                     read_text_file(out_ / "held_out-00000.tokens", 1U << 24U) +
                     read_text_file(out_ / "manifest.json", 1U << 24U));
  }
  EXPECT_EQ(shards[0], shards[1]);
}

TEST_F(PrepareTest, ShardsEndWithADocument) {
  PrepareOptions small = options(file("a.jsonl", lines(100)), 0);
  small.shard_tokens = 200;
  const DataManifest manifest = prepare(small);
  EXPECT_GT(manifest.train.shards.size(), 2U);
  for (const DataShard& shard : manifest.train.shards) EXPECT_LT(shard.tokens, 230);
  EXPECT_EQ(std::accumulate(manifest.train.shards.begin(), manifest.train.shards.end(), std::int64_t{0},
                            [](std::int64_t sum, const DataShard& shard) { return sum + shard.documents; }),
            100);
  EXPECT_EQ(static_cast<std::int64_t>(tokens("train").size()), manifest.train.tokens);
}

TEST_F(PrepareTest, PreparedDataIsNotReplaced) {
  const auto input = file("a.txt", "the cat");
  prepare(options(input, 0));
  EXPECT_THAT(error_of([&] { prepare(options(input, 0)); }), HasSubstr("already holds prepared data"));
}

TEST_F(PrepareTest, NothingToTrainOnIsAnError) {
  EXPECT_THAT(error_of([&] { prepare(options(file("a.txt", ""), 0)); }), HasSubstr("no text to train on"));
  EXPECT_FALSE(std::filesystem::exists(out_ / "manifest.json"));
}

TEST_F(PrepareTest, AFullDiskLeavesNoManifest) {
  const auto input = file("a.jsonl", lines(2000));
  {
    const test::FileSizeLimit limit(4096);
    EXPECT_THAT(error_of([&] { prepare(options(input, 0)); }), HasSubstr("train-00000.tokens: cannot write"));
  }
  EXPECT_FALSE(std::filesystem::exists(out_ / "manifest.json"));
  EXPECT_THAT(error_of([&] { load_data_manifest(out_); }), HasSubstr("no manifest.json there"));
}

TEST_F(PrepareTest, TrainingTextLeavesTheHeldOutPartAway) {
  std::string seen;
  for_each_training_text(options(file("a.txt", "one\ntwo\nthree\nfour\n"), 0.3),
                         [&](std::string_view text, std::uint64_t) { seen += text; });
  EXPECT_EQ(seen, "one\ntwo\nthree\n");
}

}  // namespace
}  // namespace fathom
