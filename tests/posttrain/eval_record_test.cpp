#include "posttrain/eval_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "base/file.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

class EvalRecordTest : public testing::Test {
 protected:
  static EvalSample sample(std::int64_t index) {
    EvalSample one;
    one.task = "words";
    one.index = index;
    one.sample = 2;
    one.text = "caf\xC3\xA9 \xFF\n";
    one.tokens = 9;
    one.reason = "end_of_text";
    one.reward.accuracy = 1;
    one.reward.extracted = "5";
    return one;
  }
  test::TemporaryFolder folder_;
  std::string file_ = folder_.path() / "samples.jsonl";
};

TEST_F(EvalRecordTest, SamplesComeBackAndMoreAreAppended) {
  EvalSettings settings;
  settings.prefix = "<think>\n";
  settings.temperature = 0.6;
  EvalLog(file_, settings).append(sample(0));
  {
    EvalLog log(file_, settings);
    EXPECT_TRUE(log.has("words", 0, 2));
    EXPECT_FALSE(log.has("words", 1, 2));
    log.append(sample(1));
    EXPECT_TRUE(log.has("words", 1, 2));
  }
  const EvalRecord record = read_eval_record(file_);
  EXPECT_EQ(record.settings, settings);
  ASSERT_EQ(record.samples.size(), 2U);
  EXPECT_EQ(record.samples[1].index, 1);
  EXPECT_EQ(record.samples[1].text, "caf\xC3\xA9 \xEF\xBF\xBD\n") << "bytes that are no UTF-8 are replaced";
  EXPECT_EQ(record.samples[1].reward.extracted, "5");
}

TEST_F(EvalRecordTest, ALineThatACrashCutShortIsWrittenAnew) {
  EvalLog(file_, {}).append(sample(0));
  std::ofstream(file_, std::ios::app) << R"({"task": "wor)";
  EvalLog log(file_, {});
  EXPECT_EQ(log.samples().size(), 1U);
  log.append(sample(1));
  EXPECT_EQ(read_eval_record(file_).samples.size(), 2U);
}

TEST_F(EvalRecordTest, OtherSettingsAreRefusedByName) {
  EvalLog(file_, {}).append(sample(0));
  EvalSettings other;
  other.temperature = 0.5;
  EXPECT_THAT(error_of([&] { EvalLog log(file_, other); }),
              HasSubstr("holds samples with temperature 1.0, not 0.5: give another --output, or remove it"));
  other = {};
  other.fingerprint = "abc";
  EXPECT_THAT(error_of([&] { EvalLog log(file_, other); }), HasSubstr("fingerprint"));
  other = {};
  other.model = "renamed";
  EXPECT_EQ(error_of([&] { EvalLog log(file_, other); }), "no error") << "a model may be moved";
}

TEST_F(EvalRecordTest, FilesOfAnotherKindAreRefused) {
  const auto error_with = [&](const std::string& text) {
    std::ofstream(file_) << text;
    return error_of([&] { read_eval_record(file_); });
  };
  EXPECT_THAT(error_with(""), HasSubstr("is empty"));
  EXPECT_THAT(error_with("{}\n"), HasSubstr("is no file of samples"));
  EXPECT_THAT(error_with("text\n"), HasSubstr("samples.jsonl:1"));
  EXPECT_THAT(error_with("{\"fathom_eval\": 1}\n"),
              HasSubstr("samples.jsonl:1: is not as `fathom eval` writes it"));
  EvalLog(folder_.path() / "good.jsonl", {}).append(sample(0));
  const std::string good = read_text_file(folder_.path() / "good.jsonl", 1U << 20U);
  EXPECT_THAT(error_with(good + "{\"task\": 5}\n"), HasSubstr("samples.jsonl:3: is not as"));
  EXPECT_THAT(error_with(good + "{\n{}\n"), HasSubstr("samples.jsonl:3: is no JSON"));
  EXPECT_THAT(error_of([&] { read_eval_record(folder_.path() / "none"); }), HasSubstr("none"));
  EXPECT_THAT(error_of([&] { EvalLog log(folder_.path() / "no" / "folder.jsonl", {}); }),
              HasSubstr("folder.jsonl"));
}

}  // namespace
}  // namespace fathom
