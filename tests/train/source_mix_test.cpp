#include "train/source_mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "base/rng.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "train/batch_loader.h"
#include "train/data_folder.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

TEST(SourceMixTest, OneSourceIsDrawnInOrder) {
  const SourceMix mix(std::array{0.3});
  for (const std::int64_t position : {0L, 1L, 65535L, 65536L, 1L << 40}) {
    EXPECT_EQ(mix.at(position).source, 0U);
    EXPECT_EQ(mix.at(position).index, position);
  }
}

TEST(SourceMixTest, ASourcesSequencesComeOneAfterAnother) {
  const std::array weights = {0.5, 0.3, 0.15, 0.05};
  const SourceMix mix(weights);
  std::vector<std::int64_t> next(weights.size(), 0);
  for (std::int64_t position = 0; position < 3 * 65536; ++position) {
    const SourceMix::Place place = mix.at(position);
    ASSERT_EQ(place.index, next[place.source]++);
    for (std::size_t s = 0; s < weights.size() && position % 997 == 0; ++s)
      ASSERT_EQ(mix.count(s, position + 1), next[s]);
  }
}

TEST(SourceMixTest, EveryBeginningHasTheSharesOfTheWeights) {
  Rng random(1);
  for (int trial = 0; trial < 20; ++trial) {
    std::vector<double> weights(1 + random.below(6));
    double total = 0;
    for (double& weight : weights) total += weight = 0.01 + random.uniform();
    const SourceMix mix(weights);
    for (std::size_t s = 0; s < weights.size(); ++s) {
      EXPECT_NEAR(mix.share(s), weights[s] / total, 1.0 / 65536);
      for (std::int64_t n = 1; n < 200'000; n = n * 3 / 2 + 1)
        EXPECT_NEAR(static_cast<double>(mix.count(s, n)), static_cast<double>(n) * mix.share(s),
                    std::log2(static_cast<double>(n)) + 2);
    }
  }
}

TEST(SourceMixTest, TheLeastWeightStillHasAPlace) {
  const SourceMix mix(std::array{1.0, 1e-9, 1e-300});
  EXPECT_EQ(mix.count(1, 65536), 1);
  EXPECT_EQ(mix.count(2, 65536), 1);
  EXPECT_EQ(mix.count(0, 65536), 65534);
}

TEST(SourceMixTest, ImpossibleWeightsAreRefused) {
  for (const double weight : {0.0, -1.0, std::nan(""), HUGE_VAL})
    EXPECT_THAT(error_of([&] { SourceMix(std::array{1.0, weight}); }), HasSubstr("must be above 0"));
  EXPECT_THAT(error_of([&] { SourceMix(std::array{1e308, 1e308}); }), HasSubstr("too large"));
  EXPECT_THAT(error_of([&] { SourceMix(std::vector<double>{}); }), HasSubstr("cannot be mixed"));
}

/// Sources whose tokens say where they come from: 1,000 s + i.
class MixedLoaderTest : public testing::Test {
 protected:
  static constexpr std::int64_t kLength = 4;

  test::TemporaryFolder folder_;
  ThreadPool pool_{1};
  std::vector<SourceTokens> sources_;

  void SetUp() override {
    const std::vector<std::int64_t> sizes = {400, 90, 41};
    std::vector<std::int32_t> tokens;
    for (std::size_t s = 0; s < sizes.size(); ++s)
      for (std::int64_t i = 0; i < sizes[s]; ++i)
        tokens.push_back(static_cast<std::int32_t>(1000 * static_cast<std::int64_t>(s) + i));
    DataManifest manifest = test::write_data_folder(folder_.path(), 5000, tokens, sizes);
    manifest.sources = {{.name = "web", .weight = 6}, {.name = "code", .weight = 3}, {.name = "math"}};
    for (std::size_t s = 0; s < sizes.size(); ++s) manifest.train.shards[s].source = s;
    save_data_manifest(manifest, folder_.path());
    sources_ = open_sources(folder_.path(), load_data_manifest(folder_.path()), "train", pool_);
  }

  static std::vector<std::size_t> sources_of(const Batch& batch) {
    std::vector<std::size_t> sources;
    for (std::size_t i = 0; i < batch.tokens.size(); i += kLength)
      sources.push_back(static_cast<std::size_t>(batch.tokens[i] / 1000));
    return sources;
  }
};

TEST_F(MixedLoaderTest, SequencesStayInOneSource) {
  const Batch batch = BatchLoader(sources_, kLength, 1).batch(0, 500);
  for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
    EXPECT_EQ(batch.targets[i], batch.tokens[i] + 1);
    EXPECT_EQ(batch.tokens[i] / 1000, batch.tokens[i - i % kLength] / 1000);
  }
}

TEST_F(MixedLoaderTest, SourcesAreDrawnByWeightOverMoreThanAnEpoch) {
  const BatchLoader loader(sources_, kLength, 1);
  const std::vector<std::size_t> drawn = sources_of(loader.batch(0, 1000));
  EXPECT_NEAR(static_cast<double>(std::count(drawn.begin(), drawn.end(), 0U)), 600, 12);
  EXPECT_NEAR(static_cast<double>(std::count(drawn.begin(), drawn.end(), 1U)), 300, 12);
  EXPECT_NEAR(static_cast<double>(std::count(drawn.begin(), drawn.end(), 2U)), 100, 12);
  EXPECT_NEAR(loader.epochs(2, 1000), 10, 1.2);  // 100 sequences of 10
}

TEST_F(MixedLoaderTest, AnEpochOfASourceHasEachOfItsSequencesOnce) {
  const BatchLoader loader(sources_, kLength, 1);
  const Batch batch = loader.batch(0, 1000);
  std::vector<std::int32_t> math;  // first tokens of its sequences
  for (std::size_t i = 0; i < batch.tokens.size(); i += kLength)
    if (batch.tokens[i] >= 2000) math.push_back(batch.tokens[i]);
  for (std::size_t epoch = 0; (epoch + 1) * 10 <= math.size(); ++epoch) {
    const auto begin = math.begin() + static_cast<std::ptrdiff_t>(epoch * 10);
    EXPECT_EQ(std::set(begin, begin + 10).size(), 10U) << "epoch " << epoch;
  }
}

TEST_F(MixedLoaderTest, TheOrderDependsNeitherOnBatchSizeNorOnRanks) {
  const BatchLoader loader(sources_, kLength, 7);
  const Batch whole = loader.batch(0, 96);
  for (const std::int64_t size : {1, 5, 16, 32}) {
    const BatchLoader fresh(sources_, kLength, 7);
    std::vector<std::int32_t> tokens(whole.tokens.size());
    for (std::int64_t at = (96 - 1) / size * size; at >= 0;
         at -= size) {  // backwards, as resumed ranks would
      const Batch part = fresh.batch(at, std::min(size, 96 - at));
      std::copy(part.tokens.begin(), part.tokens.end(), tokens.begin() + at * kLength);
    }
    EXPECT_EQ(tokens, whole.tokens);
  }
}

TEST_F(MixedLoaderTest, ASourceTooSmallForASequenceIsNamed) {
  EXPECT_THAT(error_of([&] { BatchLoader(sources_, 41, 1); }), HasSubstr("of the source math has 41 tokens"));
}

TEST_F(MixedLoaderTest, TheChecksumOfTheOrderFollowsWeightsAndSizes) {
  const DataManifest manifest = load_data_manifest(folder_.path());
  DataManifest other = manifest;
  EXPECT_EQ(other.order_checksum(), manifest.order_checksum());
  other.sources[1].weight = 3.5;
  EXPECT_NE(other.order_checksum(), manifest.order_checksum());
  other = manifest;
  std::swap(other.train.shards[0].tokens, other.train.shards[1].tokens);
  EXPECT_NE(other.order_checksum(), manifest.order_checksum());
}

TEST_F(MixedLoaderTest, AnotherShardInAShardsPlaceIsRefused) {
  TokenShardWriter writer(folder_.path() / "train-1.tokens", 5000,
                          load_data_manifest(folder_.path()).tokenizer_hash);
  writer.add_document(std::vector<std::int32_t>(90, 7));
  writer.finish();
  EXPECT_THAT(
      error_of([&] { open_sources(folder_.path(), load_data_manifest(folder_.path()), "train", pool_); }),
      HasSubstr("train-1.tokens: not the shard that manifest.json describes"));
}

TEST_F(MixedLoaderTest, AFolderOfVersionOneIsOneSource) {
  Json json = Json::parse(std::ifstream(folder_.path() / "manifest.json"));
  json["version"] = 1;
  json.erase("sources");
  for (Json& shard : json["splits"]["train"]["shards"])
    for (const char* key : {"source", "bytes", "checksum"}) shard.erase(key);
  write_file_atomically(folder_.path() / "manifest.json", json.dump());
  const DataManifest manifest = load_data_manifest(folder_.path());
  ASSERT_EQ(manifest.sources.size(), 1U);
  EXPECT_EQ(open_sources(folder_.path(), manifest, "train", pool_)[0].tokens.tokens(), 531);
}

TEST_F(MixedLoaderTest, HostileManifestsAreRefused) {
  const Json good = Json::parse(std::ifstream(folder_.path() / "manifest.json"));
  const auto error_with = [&](const std::function<void(Json&)>& change) {
    Json json = good;
    change(json);
    write_file_atomically(folder_.path() / "manifest.json", json.dump());
    return error_of([&] { load_data_manifest(folder_.path()); });
  };
  const auto shard = [](Json& json) -> Json& { return json["splits"]["train"]["shards"][1]; };
  EXPECT_THAT(error_with([](Json& json) { json["version"] = 4; }),
              HasSubstr("version 4, this program reads"));
  EXPECT_THAT(error_with([](Json& json) { json["sources"] = Json::array(); }), HasSubstr("sources"));
  EXPECT_THAT(error_with([](Json& json) { json["sources"][0]["weight"] = 0; }), HasSubstr("weight"));
  EXPECT_THAT(error_with([](Json& json) { json["sources"][0]["name"] = 3; }), HasSubstr("name"));
  EXPECT_THAT(error_with([](Json& json) { json["sources"][0]["name"] = json["sources"][1]["name"]; }),
              HasSubstr("two sources have the name"));
  EXPECT_THAT(error_with([&](Json& json) { shard(json)["source"] = 3; }), HasSubstr("there are 3"));
  EXPECT_THAT(error_with([&](Json& json) {
                shard(json)["source"] = 0;
                shard(json)["tokens"] = 91;
              }),
              HasSubstr("the shards hold 532 tokens"));
  EXPECT_THAT(error_with([&](Json& json) {
                shard(json)["source"] = 2;
                json["splits"]["train"]["shards"][2]["source"] = 1;
              }),
              HasSubstr("order of their sources"));
  EXPECT_THAT(error_with([&](Json& json) { shard(json)["checksum"] = "xyz"; }), HasSubstr("hexadecimal"));
  EXPECT_THAT(error_with([&](Json& json) {
                shard(json)["bytes"] = 9223372036854775807;
                json["splits"]["train"]["shards"][2]["bytes"] = 1;
              }),
              HasSubstr("overflow"));
}

}  // namespace
}  // namespace fathom
