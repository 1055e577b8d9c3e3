#include "train/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "support/shared_data.h"
#include "train/metrics_fields.h"
#include "train/tensorboard.h"

namespace fathom {
namespace {

using testing::ElementsAre;

constexpr std::uint64_t kMostEventBytes = 1 << 20;

std::vector<std::filesystem::path> event_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// Where each record of an event file ends, by its length fields.
std::vector<std::size_t> record_ends(const std::string& bytes) {
  std::vector<std::size_t> ends;
  for (std::size_t at = 0; at + 16 <= bytes.size();) {
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < 8; ++i)
      length |= std::uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
    at += 16 + length;
    ends.push_back(at);
  }
  return ends;
}

TEST(EventFileTest, RecordsAreThoseOfTensorBoardsOwnWriter) {
  const std::vector<Scalar> scalars = {
      {"train/loss", 2.5}, {"train/learning_rate", 0.0}, {"max_vio/layer 1", -1e-3}};
  EXPECT_EQ(version_record(1700000000.25) + start_record(1700000000.5, 1) +
                scalars_record(1700000001.75, 300, scalars),
            read_text_file(test::source_folder() / "tests/train/goldens/events.bin", kMostEventBytes));
}

TEST(EventFileTest, EachStartHasAFileOfItsOwnInOrder) {
  const test::TemporaryFolder folder;
  { EventFile(folder.path(), 1).append(1, std::vector<Scalar>{{"a", 1}}); }
  const auto first = event_files(folder.path());
  { EventFile(folder.path(), 2).append(2, std::vector<Scalar>{{"a", 1}}); }
  const auto both = event_files(folder.path());
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both.front(), first.front());
  EXPECT_THAT(both.front().filename().string(), testing::StartsWith("events.out.tfevents."));
}

TEST(EventFileTest, WhatAResumedRunDoesAgainIsCutOff) {
  const test::TemporaryFolder folder;
  {
    EventFile file(folder.path(), 1);
    for (const int step : {1, 2, 3}) file.append(step, std::vector<Scalar>{{"a", 1.0 * step}});
  }
  const auto file = event_files(folder.path()).front();
  const std::string whole = read_text_file(file, kMostEventBytes);
  const std::vector<std::size_t> ends = record_ends(whole);
  ASSERT_EQ(ends.size(), 5U) << "version, start, three steps";
  const auto after_truncation = [&](const std::string& bytes, std::int64_t last_step) {
    std::ofstream(file, std::ios::binary) << bytes;
    truncate_event_files(folder.path(), last_step);
    return std::filesystem::exists(file) ? read_text_file(file, kMostEventBytes).size() : 0;
  };
  EXPECT_EQ(after_truncation(whole, 3), whole.size());
  EXPECT_EQ(after_truncation(whole, 2), ends[3]);
  EXPECT_EQ(after_truncation(whole, 0), 0U) << "nothing is left";
  EXPECT_EQ(after_truncation(whole.substr(0, whole.size() - 1), 3), ends[3]) << "a crash within a write";
}

TEST(EventFileTest, DamageEndsAFileWhereItBegins) {
  const test::TemporaryFolder folder;
  {
    EventFile file(folder.path(), 1);
    file.append(1, std::vector<Scalar>{{"a", 1}});
    file.append(2, std::vector<Scalar>{{"a", 1}});
  }
  const auto file = event_files(folder.path()).front();
  const std::string whole = read_text_file(file, kMostEventBytes);
  const std::vector<std::size_t> ends = record_ends(whole);
  for (std::size_t at = ends[2]; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    std::ofstream(file, std::ios::binary) << damaged;
    truncate_event_files(folder.path(), 9);
    EXPECT_EQ(std::filesystem::file_size(file), ends[2]) << "byte " << at;
  }
}

TEST(EventFileTest, OtherFilesAreLeftAlone) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "metrics.jsonl") << "not an event file";
  truncate_event_files(folder.path(), 0);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "metrics.jsonl"));
}

/// The numbers of a line of metrics.jsonl, of its lists too.
void add_numbers(const OrderedJson& json, std::multiset<double>& numbers) {
  if (json.is_number()) numbers.insert(json.get<double>());
  if (json.is_structured())
    for (const OrderedJson& entry : json) add_numbers(entry, numbers);
}

std::multiset<double> values_of(const std::vector<Scalar>& scalars) {
  std::multiset<double> values;
  for (const Scalar& scalar : scalars) values.insert(scalar.value);
  return values;
}

std::vector<std::string> tags_of(const std::vector<Scalar>& scalars) {
  std::vector<std::string> tags;
  for (const Scalar& scalar : scalars) tags.push_back(scalar.tag);
  return tags;
}

const std::vector<std::string> kLayers = {"layer 1", "MTP 1"};

/// Gives each field of a record a number that no other has.
struct FillWithNumbers {
  double next = 1;

  void operator()(const MetricsField& /*field*/, std::int64_t& value) {
    value = static_cast<std::int64_t>(next++);
  }
  void operator()(const MetricsField& /*field*/, double& value) { value = next++; }
  void operator()(const MetricsField& /*field*/, std::optional<double>& value) { value = next++; }
  void operator()(const MetricsField& /*field*/, std::vector<double>& values) {
    values = {next, next + 1};
    next += 2;
  }
  void operator()(const MetricsField& /*field*/, std::vector<SourceLoss>& sources) {
    sources = {{"web", next++}, {"books", next++}};
  }
  void operator()(const MetricsField& /*field*/, std::vector<std::vector<double>>& maps) {
    maps = {{next++}, {next++}};
  }
};

TEST(TensorboardTest, EveryFigureOfMetricsJsonlIsACurve) {
  const test::TemporaryFolder folder;
  StepMetrics step;
  EvalMetrics evaluation;
  FillWithNumbers fill;
  visit_fields(step, fill);
  visit_fields(evaluation, fill);
  {
    MetricsLog log(folder.path() / "metrics.jsonl", 0);
    log.append(step);
    log.append(evaluation);
  }
  std::ifstream log(folder.path() / "metrics.jsonl");
  for (const auto& scalars : {scalars_of(step, kLayers), scalars_of(evaluation, kLayers)}) {
    std::string line;
    ASSERT_TRUE(std::getline(log, line));
    OrderedJson json = OrderedJson::parse(line);
    json.erase("step");
    json.erase("expert_load");
    std::multiset<double> numbers;
    add_numbers(json, numbers);
    EXPECT_EQ(values_of(scalars), numbers);
    const std::vector<std::string> tags = tags_of(scalars);
    EXPECT_EQ(std::set<std::string>(tags.begin(), tags.end()).size(), tags.size()) << "each its own";
  }
}

TEST(TensorboardTest, CurvesAreGroupedByWhatTheyAreOf) {
  const StepMetrics step{.step = 1, .loss = 2, .mtp_loss = 3, .max_vio = 0.5, .layer_max_vio = {0.25, 0.75}};
  EXPECT_THAT(tags_of(scalars_of(step, kLayers)),
              testing::IsSupersetOf({"train/loss", "train/mtp_loss", "train/learning_rate",
                                     "train/batch_size", "train/router_bias_update_rate", "train/max_vio",
                                     "max_vio/layer 1", "max_vio/MTP 1"}));
  const EvalMetrics evaluation{.step = 1,
                               .loss = 4,
                               .source_loss = {{"web", 3}},
                               .draft_acceptance = {0.5, 0.25},
                               .layer_max_vio = {0, 0},
                               .batch_max_vio = 1};
  const std::vector<std::string> tags = tags_of(scalars_of(evaluation, kLayers));
  EXPECT_THAT(tags, testing::IsSupersetOf({"held_out/loss", "held_out/bits_per_byte",
                                           "held_out/batch_max_vio", "held_out/draft_acceptance_1",
                                           "held_out/draft_acceptance_2", "held_out_max_vio/layer 1",
                                           "held_out_loss/web", "held_out_max_vio/MTP 1"}));
  EXPECT_THAT(tags, testing::Not(testing::Contains("held_out/mtp_loss"))) << "this model has none";
}

TEST(TensorboardTest, CurvesAreWrittenIntoTheEventFile) {
  const test::TemporaryFolder folder;
  {
    TensorboardLog log(folder.path(), kLayers, 0);
    log.append(StepMetrics{.step = 1, .layer_max_vio = {0.25, 0.75}});
    log.append(EvalMetrics{.step = 1, .averaged_loss = 2});
  }
  const std::string bytes = read_text_file(event_files(folder.path()).front(), kMostEventBytes);
  for (const char* tag : {"train/loss", "max_vio/MTP 1", "held_out/loss", "held_out/averaged_loss"})
    EXPECT_THAT(bytes, testing::HasSubstr(tag));
}

}  // namespace
}  // namespace fathom
