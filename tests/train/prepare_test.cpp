#include "train/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/shared_data.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_writer.h"
#include "train/batch_loader.h"
#include "train/fim.h"

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
    options.sources = {{.inputs = {input}}};
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

/// All files of a data folder that are to be the same bytes again and again.
std::map<std::string, std::string> bytes_of_folder(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files[entry.path().filename()] =
        entry.is_regular_file() ? read_text_file(entry.path(), 1U << 26U) : "a folder that should be gone";
  return files;
}

TEST_F(PrepareTest, AfterAFullDiskAtAnyPointTheSameBytesComeOut) {
  PrepareOptions wanted = options(file("a.jsonl", lines(2000)), 0.1);
  wanted.shard_tokens = 3000;
  wanted.near_dedup = 0.9;
  wanted.fim_rate = 0;
  prepare(wanted);
  const auto expected = bytes_of_folder(out_);
  for (const auto& [name, bytes] : expected)
    if (!name.starts_with("tokenizer")) std::filesystem::remove(out_ / name);
  int failures = 0;
  for (rlim_t limit = 300; limit < 200'000 && !is_data_folder(out_); limit = limit * 5 / 4) {
    const test::FileSizeLimit disk(limit);
    const std::string error = error_of([&] { prepare(wanted); });
    if (error == "no error") break;
    EXPECT_THAT(error, HasSubstr("cannot"));
    ++failures;
  }
  EXPECT_GT(failures, 10);
  if (!is_data_folder(out_)) prepare(wanted);
  EXPECT_EQ(bytes_of_folder(out_), expected);
}

TEST_F(PrepareTest, AFullDiskLeavesNoManifest) {
  const auto input = file("a.jsonl", lines(2000));
  {
    const test::FileSizeLimit limit(4096);
    EXPECT_THAT(error_of([&] { prepare(options(input, 0)); }), HasSubstr("cannot write"));
  }
  EXPECT_FALSE(std::filesystem::exists(out_ / "manifest.json"));
  EXPECT_THAT(error_of([&] { load_data_manifest(out_); }), HasSubstr("no manifest.json there"));
}

/// Ends a preparation at a certain call of its progress, as a crash would: nothing in this process goes on.
struct Interruption {};

TEST_F(PrepareTest, InterruptedAnywhereItGoesOnToTheSameBytes) {
  std::string text;
  for (int i = 0; i < 12'000; ++i)
    text += "the cat " + std::to_string(i * 7919 % 10'000) + " sat on the mat and the dog\n";
  PrepareOptions wanted = options(file("a.jsonl", lines(30'000)), 0.05);
  wanted.sources[0].name = "lines";
  wanted.sources.push_back({.inputs = {file("b.txt", text)}, .name = "whole"});
  wanted.shard_tokens = 60'000;
  prepare(wanted, 2);
  const auto expected = bytes_of_folder(out_);
  EXPECT_GT(expected.size(), 15U);
  Rng random(4);
  for (int trial = 0; trial < 3; ++trial) {
    for (const auto& [name, bytes] : expected)
      if (!name.starts_with("tokenizer")) std::filesystem::remove(out_ / name);
    bool finished = false;
    for (int attempt = 0; !finished && attempt < 100; ++attempt) {
      ThreadPool pool(1 + random.below(4));
      std::int64_t calls = static_cast<std::int64_t>(random.below(6));
      try {
        prepare_data(wanted, pool, [&](const PrepareProgress&) {
          if (calls-- == 0) throw Interruption();
        });
        finished = true;
      } catch (const Interruption&) {
        // A line of the journal that a crash cut short does not count.
        if (random.below(2) == 0)
          std::ofstream(out_ / "unfinished/journal.jsonl", std::ios::app) << "{\"shar";
      }
    }
    ASSERT_TRUE(finished);
    EXPECT_TRUE(bytes_of_folder(out_) == expected) << trial;
  }
}

TEST_F(PrepareTest, AnUnfinishedPreparationGoesOnWithTheSameSettingsAlone) {
  const auto input = file("a.jsonl", lines(100));
  const PrepareOptions wanted = options(input, 0.1);
  const auto interrupt = [&](const PrepareOptions& changed) {
    return error_of([&] {
      try {
        prepare_data(changed, pool_, [](const PrepareProgress& progress) {
          if (progress.phase == PrepareProgress::Phase::tokens) throw Interruption();
        });
      } catch (const Interruption&) {
        fail("interrupted");
      }
    });
  };
  EXPECT_EQ(interrupt(wanted), "interrupted");
  PrepareOptions other = wanted;
  other.held_out = 0.2;
  EXPECT_THAT(interrupt(other), HasSubstr("unfinished preparation with other settings (held_out differs)"));
  other = wanted;
  other.sources[0].field = "body";
  EXPECT_THAT(interrupt(other), HasSubstr("(sources differs)"));
  BpeTrainer trainer({.vocab_size = 290});
  trainer.add("another text");
  const std::string tokenizer = read_text_file(out_ / "tokenizer.json", 1U << 20U);
  write_tokenizer(trainer.finish(), out_);
  EXPECT_THAT(interrupt(wanted), HasSubstr("unfinished preparation with another tokenizer"));
  write_file_atomically(out_ / "tokenizer.json", tokenizer);
  EXPECT_EQ(interrupt(wanted), "interrupted");
  {
    const Preparation holder(wanted, pool_, {});
    EXPECT_TRUE(holder.is_continued());
    EXPECT_TRUE(holder.has_tokenizer());
    EXPECT_THAT(interrupt(wanted), HasSubstr("another process prepares data there"));
  }
  file("a.jsonl", lines(101));
  EXPECT_THAT(interrupt(wanted), HasSubstr("(input files differs)"));
}

TEST_F(PrepareTest, AJournalOfSomethingElseIsRefused) {
  const PrepareOptions wanted = options(file("a.jsonl", lines(10)), 0.1);
  create_folders(out_ / "unfinished");
  const std::filesystem::path journal = out_ / "unfinished/journal.jsonl";
  for (const char* content : {"nonsense\n", "[]\n", "{\"seed\": 3}\n"}) {
    std::ofstream(journal) << content;
    EXPECT_THAT(error_of([&] { prepare(wanted); }),
                testing::AnyOf(HasSubstr("journal.jsonl"), HasSubstr("other settings")));
  }
  std::filesystem::remove(journal);
  { const Preparation begun(wanted, pool_, {}); }
  for (const char* entry : {R"({"survey": 3})", R"({"survey": {"file": "x"}})",
                            R"({"survey": {"file": 0, "record": 5, "ordinal": 5, "complete": false}})"}) {
    const std::string recipe = read_text_file(journal, 1U << 20U);
    std::ofstream(journal, std::ios::app) << entry << "\n";
    EXPECT_THAT(error_of([&] { prepare(wanted); }), HasSubstr("remove the output folder")) << entry;
    std::ofstream(journal) << recipe;
  }
}

TEST_F(PrepareTest, CopiesAreLeftOutAndNothingLeaksIntoWhatIsHeldOut) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "{\"text\": \"the cat " + std::to_string(i % 1000) + " sat\"}\n";
  const DataManifest manifest = prepare(options(file("a.jsonl", text), 0.1));
  EXPECT_EQ(manifest.sources[0].exact_duplicates, 2000);
  EXPECT_EQ(manifest.train.documents + manifest.held_out.documents, 1000);
  std::set<std::string> train;
  const Tokenizer tokenizer = Tokenizer::load(out_);
  const auto documents_of = [&](const char* split) {
    std::set<std::string> documents;
    std::vector<std::int32_t> document;
    for (const std::int32_t id : tokens(split)) {
      document.push_back(id);
      if (id != tokenizer.eos()) continue;
      documents.insert(tokenizer.decode(document));
      document.clear();
    }
    return documents;
  };
  const std::set<std::string> trained = documents_of("train");
  for (const std::string& document : documents_of("held_out"))
    EXPECT_FALSE(trained.contains(document)) << document;
  EXPECT_EQ(trained.size(), static_cast<std::size_t>(manifest.train.documents));
}

TEST_F(PrepareTest, WithoutDedupCopiesStayOnOneSide) {
  PrepareOptions wanted = options(file("a.jsonl", lines(500) + lines(500)), 0.1);
  wanted.exact_dedup = false;
  const DataManifest manifest = prepare(wanted);
  EXPECT_EQ(manifest.train.documents + manifest.held_out.documents, 1000);
  EXPECT_EQ(manifest.held_out.documents % 2, 0);
  EXPECT_EQ(manifest.sources[0].exact_duplicates, 0);
}

TEST_F(PrepareTest, NearCopiesAreLeftOutAcrossSources) {
  std::string words;
  for (int i = 0; i < 300; ++i) words += "w" + std::to_string(i * i) + " ";
  const std::string other = "entirely different words in a document of its own, which nothing else is like";
  PrepareOptions wanted = options(file("a.txt", words), 0);
  wanted.held_out_by = HeldOutBy::document;
  wanted.sources[0].name = "first";
  wanted.sources.push_back({.inputs = {file("b.jsonl", Json({{"text", words + "one more"}}).dump() + "\n" +
                                                           Json({{"text", other}}).dump())},
                            .name = "second"});
  wanted.near_dedup = 0.8;
  const DataManifest manifest = prepare(wanted);
  EXPECT_EQ(manifest.sources[1].near_duplicates, 1);
  EXPECT_EQ(manifest.split("train", 0).documents, 1);
  EXPECT_EQ(manifest.split("train", 1).documents, 1);
  EXPECT_EQ(manifest.train.shards[1].file, "second-train-00000.tokens");
}

TEST_F(PrepareTest, WeightsAreGivenOrElseTheTokens) {
  PrepareOptions wanted = options(file("a.jsonl", lines(100)), 0);
  wanted.sources[0].name = "a";
  wanted.sources.push_back({.inputs = {file("b.txt", "the dog sat on the mat")}, .name = "b"});
  const DataManifest manifest = prepare(wanted);
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_EQ(manifest.sources[i].weight, static_cast<double>(manifest.split("train", i).tokens));
  wanted.sources[0].weight = 2;
  std::filesystem::remove(out_ / "manifest.json");
  EXPECT_THAT(error_of([&] { prepare(wanted); }), HasSubstr("either every source has a weight or none"));
  wanted.sources[1].weight = 0.5;
  EXPECT_EQ(prepare(wanted).sources[0].weight, 2);
}

TEST_F(PrepareTest, RearrangedDocumentsHaveTheReportsForm) {
  BpeTrainer trainer(
      {.vocab_size = 300, .more_special_tokens = {"<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"}});
  trainer.add("the cat sat on the mat");
  write_tokenizer(trainer.finish(), out_);
  PrepareOptions wanted = options(file("a.jsonl", lines(3000)), 0.1);
  wanted.fim_rate = 0.1;
  const DataManifest manifest = prepare(wanted);
  const Tokenizer tokenizer = Tokenizer::load(out_);
  const FimTokens fim = *FimTokens::of(tokenizer);
  std::int64_t rearranged = 0;
  std::set<std::string> texts;
  std::vector<std::int32_t> ids = tokens("train");
  for (auto at = ids.begin(); at != ids.end();) {
    const auto end = std::find(at, ids.end(), tokenizer.eos());
    ASSERT_EQ(*at, tokenizer.bos());
    ++at;
    if (*at == fim.begin) {
      ++rearranged;
      const auto hole = std::find(at, end, fim.hole);
      const auto middle = std::find(hole, end, fim.end);
      ASSERT_TRUE(hole != end && middle != end);
      texts.insert(tokenizer.decode({at + 1, hole}) + tokenizer.decode({middle + 1, end}) +
                   tokenizer.decode({hole + 1, middle}));
    } else {
      texts.insert(tokenizer.decode({at, end}));
    }
    at = end + 1;
  }
  EXPECT_EQ(static_cast<std::int64_t>(texts.size()), manifest.train.documents);
  for (const std::string& text : texts)
    EXPECT_TRUE(text.starts_with("the cat ") && text.ends_with(" sat")) << text;
  EXPECT_EQ(rearranged, manifest.sources[0].rearranged_documents);
  // 2,700 documents at a rate of 0.1: five standard deviations.
  EXPECT_NEAR(static_cast<double>(rearranged), 270, 5 * 15.6);
  const std::vector<std::int32_t> held_out = tokens("held_out");
  EXPECT_EQ(std::count(held_out.begin(), held_out.end(), fim.begin), 0);
}

TEST_F(PrepareTest, ATokenizerWithoutTokensForFimIsSaidSo) {
  PrepareOptions wanted = options(file("a.jsonl", lines(10)), 0);
  wanted.fim_rate = 0.1;
  EXPECT_THAT(error_of([&] { prepare(wanted); }), HasSubstr("no tokens for filling in the middle"));
}

TEST_F(PrepareTest, ALongTextIsOneDocumentAndItsTailIsHeldOut) {
  std::string text;
  for (int i = 0; text.size() < kLongText * 3 / 2; ++i)
    text += "the cat sat on the mat and the dog " + std::to_string(i) + "\n";
  std::string one_line;
  while (one_line.size() <= kLongText) one_line += "é" + std::to_string(one_line.size());
  for (const std::string& content : {text, one_line}) {
    std::filesystem::remove(out_ / "manifest.json");
    const DataManifest manifest = prepare(options(file("a.txt", content), 0.4));
    EXPECT_EQ(manifest.train.documents, 1);
    EXPECT_EQ(manifest.held_out.documents, 1);
    const Tokenizer tokenizer = Tokenizer::load(out_);
    const std::string train = tokenizer.decode(tokens("train"));
    const std::string held_out = tokenizer.decode(tokens("held_out"));
    EXPECT_TRUE(train + held_out == content);
    EXPECT_NEAR(static_cast<double>(held_out.size()) / static_cast<double>(content.size()), 0.4, 1e-3);
    EXPECT_EQ(manifest.train.bytes, static_cast<std::int64_t>(train.size()));
  }
}

TEST_F(PrepareTest, BytesThatAreNoUtf8AreCountedByDocument) {
  std::string text =
      "{\"text\": \"fine\"}\n{\"text\": \"b\xFF"
      "d\"}\n";
  const DataManifest manifest = prepare(options(file("a.jsonl", text), 0));
  EXPECT_EQ(manifest.sources[0].repaired_documents, 1);
  EXPECT_THAT(Tokenizer::load(out_).decode(tokens("train")), HasSubstr("b\uFFFD"
                                                                       "d"));
}

TEST_F(PrepareTest, ImpossibleOptionsAreRefused) {
  const PrepareOptions good = options(file("a.txt", "the cat"), 0);
  const auto error_with = [&](const std::function<void(PrepareOptions&)>& change) {
    PrepareOptions changed = good;
    change(changed);
    return error_of([&] { prepare(changed); });
  };
  EXPECT_THAT(error_with([](auto& o) { o.held_out = 1; }), HasSubstr("held-out"));
  EXPECT_THAT(error_with([](auto& o) { o.fim_rate = 1.5; }), HasSubstr("FIM rate"));
  EXPECT_THAT(error_with([](auto& o) { o.shard_tokens = 0; }), HasSubstr("shard"));
  EXPECT_THAT(error_with([](auto& o) { o.near_dedup = 0; }), HasSubstr("similarity"));
  EXPECT_THAT(error_with([](auto& o) {
                o.near_dedup = 0.8;
                o.exact_dedup = false;
              }),
              HasSubstr("exact"));
  EXPECT_THAT(error_with([](auto& o) { o.sources.clear(); }), HasSubstr("no sources"));
  EXPECT_THAT(error_with([](auto& o) { o.sources[0].name = "../x"; }), HasSubstr("the name \"../x\""));
  EXPECT_THAT(error_with([](auto& o) { o.sources.push_back(o.sources[0]); }), HasSubstr("two sources"));
  EXPECT_THAT(error_with([](auto& o) { o.sources[0].weight = -1; }), HasSubstr("weight"));
  EXPECT_THAT(error_with([](auto& o) { o.sources[0].split_on = "a\nb"; }), HasSubstr("one line"));
}

TEST_F(PrepareTest, TrainingTextLeavesTheHeldOutPartAway) {
  std::string seen;
  Preparation preparation(options(file("a.txt", "one\ntwo\nthree\nfour\n"), 0.3), pool_,
                          [](const PrepareProgress&) {});
  preparation.survey();
  preparation.for_each_training_text([&](std::string_view text) { seen += text; });
  EXPECT_EQ(seen, "one\ntwo\nthree\n");
}

}  // namespace
}  // namespace fathom
