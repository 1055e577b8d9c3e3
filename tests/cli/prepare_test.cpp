// `fathom prepare` through the real binary: what only a whole process shows.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using test::ProgramResult;
using test::run_fathom;
using testing::HasSubstr;

class PrepareCommandTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::string out_ = folder_.path() / "data";
  std::string tokenizer_ = test::tiny_checkpoint("tiny_f32");

  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(folder_.path() / name, std::ios::binary) << content;
    return folder_.path() / name;
  }

  /// Lines that do not repeat, some `megabytes` of them.
  static std::string json_lines(int megabytes) {
    std::string text;
    text.reserve(static_cast<std::size_t>(megabytes) << 20U);
    for (int i = 0; text.size() < static_cast<std::size_t>(megabytes) << 20U; ++i) {
      text += R"({"text": ")" + std::to_string(i);
      for (int j = 0; j < 40; ++j) text += " the quick brown fox jumps";
      text += "\"}\n";
    }
    return text;
  }

  static std::map<std::string, std::string> bytes_of(const std::string& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::ifstream in(entry.path(), std::ios::binary);
      files[entry.path().filename()] = {std::istreambuf_iterator<char>(in), {}};
    }
    return files;
  }
};

TEST_F(PrepareCommandTest, KilledAgainAndAgainItEndsWithTheSameBytes) {
  const std::string input = file("a.jsonl", json_lines(4));
  const auto arguments = [&](const std::string& output) {
    return std::vector<std::string>{"prepare",     input,      "--output",       output,
                                    "--tokenizer", tokenizer_, "--shard-tokens", "200000",
                                    "--threads",   "2",        "--fim-rate",     "0"};
  };
  ASSERT_EQ(run_fathom(arguments(out_)).status, 0);
  const std::string again = folder_.path() / "again";
  int kills = 0;
  while (!std::filesystem::exists(again + "/manifest.json") && kills < 200) {
    if (test::run_fathom_and_kill(arguments(again), std::chrono::milliseconds(40 + 25 * kills))) ++kills;
  }
  EXPECT_GT(kills, 0);
  EXPECT_EQ(run_fathom(arguments(again)).status, 1) << "it is finished";
  const auto expected = bytes_of(out_);
  const auto found = bytes_of(again);
  EXPECT_EQ(found.size(), expected.size());
  for (const auto& [name, bytes] : expected)
    EXPECT_TRUE(found.contains(name) && found.at(name) == bytes) << name;
}

TEST_F(PrepareCommandTest, ASignalEndsItInOrderAndTheSameCommandGoesOn) {
  const std::string input = file("a.jsonl", json_lines(8));
  const std::vector<std::string> learn = {"--train-tokenizer", "--vocab-size", "300"};
  const std::vector<std::string> given = {"--tokenizer", tokenizer_};
  for (const auto& [signal, tokenizer] : {std::pair(SIGINT, given), std::pair(SIGTERM, learn)}) {
    const std::string output = out_ + std::to_string(signal);
    std::vector<std::string> arguments = {"prepare", input, "--output", output, "--json"};
    arguments.insert(arguments.end(), tokenizer.begin(), tokenizer.end());
    const ProgramResult stopped = test::run_fathom_and_interrupt(arguments, test::Stream::err, {signal});
    EXPECT_EQ(stopped.status, 130) << stopped.err;
    EXPECT_EQ(stopped.out, "");
    EXPECT_TRUE(stopped.err.ends_with("\n" + output + ": stopped: the same command goes on from there\n"))
        << stopped.err;
    EXPECT_FALSE(std::filesystem::exists(output + "/manifest.json"));
    const ProgramResult again = run_fathom(arguments);
    EXPECT_EQ(again.status, 0) << again.err;
  }
}

TEST_F(PrepareCommandTest, MemoryDoesNotGrowWithTheText) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory of their own";
#endif
  std::map<int, long> peak_kib;
  for (const int megabytes : {8, 32}) {
    const std::string input = file("a.jsonl", json_lines(megabytes));
    const ProgramResult result =
        run_fathom({"prepare", input, "--output", out_ + std::to_string(megabytes), "--tokenizer", tokenizer_,
                    "--shard-tokens", "500000", "--threads", "1", "--near-dedup", "1.0"});
    ASSERT_EQ(result.status, 0) << result.err;
    peak_kib[megabytes] = result.peak_kib;
  }
  // 24 MiB more of text: a third of it at most, as buffers grow. One thread, or what waits for its turn would
  // count.
  EXPECT_LT(peak_kib[32] - peak_kib[8], 8 * 1024) << peak_kib[8] << " and " << peak_kib[32] << " KiB";
}

TEST_F(PrepareCommandTest, SeveralSourcesAreSummedUpAsJson) {
  file("a.jsonl", R"({"content": "one"})"
                  "\n"
                  R"({"content": "one"})"
                  "\n"
                  R"({"content": "two"})");
  file("b.txt", "three\n---\nfour");
  const std::string mix = file("mix.json", R"({"sources": [
      {"name": "lines", "files": "a.jsonl", "field": "content", "weight": 3},
      {"name": "book", "files": ["b.txt"], "split_on": "---", "weight": 1}]})");
  const ProgramResult result = run_fathom({"prepare", "--sources", mix, "--output", out_, "--tokenizer",
                                           tokenizer_, "--held-out", "0", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json.at("train").at("documents"), 4);
  EXPECT_EQ(json.at("sources")[0].at("exact_duplicates"), 1);
  EXPECT_EQ(json.at("sources")[1].at("train").at("documents"), 2);
  EXPECT_EQ(json.at("sources")[0].at("weight"), 3.0);

  const ProgramResult shown = run_fathom({"inspect", out_});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("lines"));
  EXPECT_THAT(shown.out, HasSubstr("75.0 %"));
  const Json inspected = Json::parse(run_fathom({"inspect", out_, "--json"}).out);
  EXPECT_EQ(inspected.at("sources")[1].at("name"), "book");
}

TEST_F(PrepareCommandTest, ALearnedTokenizerHasTheTokensForFim) {
  const std::string input = file("a.jsonl", json_lines(1));
  const ProgramResult result =
      run_fathom({"prepare", input, "--output", out_, "--train-tokenizer", "--vocab-size", "300",
                  "--fim-rate", "0.5", "--tokenizer-text-mb", "1", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_GT(Json::parse(result.out).at("sources")[0].at("rearranged_documents"), 100);
}

TEST_F(PrepareCommandTest, ADamagedShardIsNamed) {
  const std::string input = file("a.jsonl", json_lines(1));
  ASSERT_EQ(run_fathom({"prepare", input, "--output", out_, "--tokenizer", tokenizer_}).status, 0);
  {
    std::fstream shard(out_ + "/train-00000.tokens", std::ios::in | std::ios::out | std::ios::binary);
    shard.seekp(1000);
    shard.put('\x01');
    shard.put('\x02');
  }
  EXPECT_CLEAN_FAILURE(run_fathom({"inspect", out_, "--check"}), 1, "train-00000.tokens: checksum mismatch");
  EXPECT_EQ(run_fathom({"inspect", out_}).status, 0) << "the manifest alone is whole";
}

TEST_F(PrepareCommandTest, WrongUseIsExplained) {
  const std::string input = file("a.txt", "text");
  EXPECT_CLEAN_FAILURE(run_fathom({"prepare", "--output", out_, "--tokenizer", tokenizer_}), 2,
                       "--sources FILE");
  EXPECT_CLEAN_FAILURE(
      run_fathom({"prepare", input, "--sources", input, "--output", out_, "--tokenizer", tokenizer_}), 2,
      "either texts or --sources");
  EXPECT_EQ(run_fathom({"prepare", input, "-o", out_, "--tokenizer", tokenizer_, "--near-dedup", "2"}).status,
            2);
  EXPECT_CLEAN_FAILURE(
      run_fathom({"prepare", input, "-o", out_, "--tokenizer", tokenizer_, "--fim-rate", "0.1"}), 1,
      "no tokens for filling in the middle");
  EXPECT_CLEAN_FAILURE(
      run_fathom({"prepare", input, "-o", out_, "--tokenizer", tokenizer_, "--near-dedup", "nan"}), 1,
      "is nan, it must be above 0");
  EXPECT_CLEAN_FAILURE(
      run_fathom({"prepare", input, "-o", out_, "--tokenizer", tokenizer_, "--shard-tokens", "0"}), 2,
      "--shard-tokens: Value 0 not in range 1 to");
  EXPECT_CLEAN_FAILURE(run_fathom({"prepare", input, "-o", out_, "--tokenizer", tokenizer_, "--seed", "-1"}),
                       2, "--seed");
  EXPECT_THAT(run_fathom({"prepare", "--help"}).out, HasSubstr("\"weight\": 0.7"));
}

}  // namespace
}  // namespace fathom
