#include "train/training_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"

namespace fathom {
namespace {

using testing::HasSubstr;

std::string section_error(const std::string& section) {
  try {
    training_config_from_json(Json{{"training", Json::parse(section)}}, "c.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TrainingConfigTest, DefaultsAreTheReports) {
  const TrainingConfig config = training_config_from_json(Json::object(), "c.json");
  EXPECT_EQ(config.beta1, 0.9);
  EXPECT_EQ(config.beta2, 0.95);
  EXPECT_EQ(config.weight_decay, 0.1);
  EXPECT_EQ(config.gradient_clip, 1.0);
  EXPECT_EQ(config.balance_loss_factor, 0.0001);
  EXPECT_EQ(config.router_bias_update_rate, 0.001);
  EXPECT_EQ(config.mtp_loss_factor, 0.3);
}

TEST(TrainingConfigTest, WrittenConfigReadsBackTheSame) {
  TrainingConfig config;
  config.learning_rate = 0.00123;
  config.steps = 77;
  config.warmup_steps = 5;
  config.checkpoint_dtype = DType::bf16;
  const OrderedJson written = training_config_to_json(config);
  const TrainingConfig again =
      training_config_from_json(Json{{"training", Json::parse(written.dump())}}, "c");
  EXPECT_EQ(training_config_to_json(again), written);
  EXPECT_EQ(again.learning_rate, 0.00123);
  EXPECT_EQ(again.warmup_steps, 5);
  EXPECT_EQ(again.decay_steps, std::nullopt);
}

TEST(TrainingConfigTest, UnknownKeyNamesTheNearestKnownOne) {
  EXPECT_EQ(section_error(R"({"lerning_rate": 1})"),
            "c.json: unknown key training.lerning_rate: did you mean training.learning_rate?");
  EXPECT_THAT(section_error(R"({"momentum": 1})"),
              HasSubstr("unknown key training.momentum: `fathom train --help`"));
}

TEST(TrainingConfigTest, WrongValuesAreNamed) {
  EXPECT_THAT(section_error(R"({"steps": "ten"})"),
              HasSubstr("training.steps must be a whole number, not \"ten\""));
  EXPECT_THAT(section_error(R"({"steps": 1.5})"), HasSubstr("training.steps must be a whole number"));
  EXPECT_THAT(section_error(R"({"steps": 18446744073709551615})"),
              HasSubstr("training.steps must be a whole number"));
  EXPECT_THAT(section_error(R"({"steps": 0})"), HasSubstr("training.steps is 0, it must be from 1"));
  EXPECT_THAT(section_error(R"({"beta2": 1})"), HasSubstr("training.beta2 is 1"));
  EXPECT_THAT(section_error(R"({"learning_rate": -1})"), HasSubstr("training.learning_rate is -1"));
  EXPECT_THAT(section_error(R"({"learning_rate": true})"),
              HasSubstr("training.learning_rate must be a number"));
  EXPECT_THAT(section_error(R"({"checkpoint_dtype": "f64"})"), HasSubstr("\"f32\" or \"bf16\""));
  EXPECT_THAT(section_error(R"([1])"), HasSubstr("\"training\" must be an object"));
}

TEST(TrainingConfigTest, ValuesAtOddsAreNamed) {
  EXPECT_THAT(section_error(R"({"batch_size": 8, "micro_batch_size": 3})"), HasSubstr("must be a multiple"));
  EXPECT_THAT(section_error(R"({"steps": 10, "warmup_steps": 6, "decay_steps": 5})"),
              HasSubstr("together exceed training.steps (10)"));
}

TEST(TrainingConfigTest, OverridesReachBothSections) {
  Json config = {{"hidden_size", 64}};
  apply_override(config, "training.learning_rate=2e-3");
  apply_override(config, "training.steps=1e2");
  apply_override(config, "training.checkpoint_dtype=bf16");
  apply_override(config, "hidden_size=128");
  EXPECT_EQ(config.at("hidden_size"), 128);
  const TrainingConfig training = training_config_from_json(config, "c.json");
  EXPECT_EQ(training.learning_rate, 2e-3);
  EXPECT_EQ(training.steps, 100);
  EXPECT_EQ(training.checkpoint_dtype, DType::bf16);
  EXPECT_THROW(apply_override(config, "training.steps"), UsageError);
  EXPECT_THROW(apply_override(config, "=3"), UsageError);
}

TEST(TrainingConfigTest, ScheduleDefaultsFollowTheNumberOfSteps) {
  TrainingConfig config;
  config.steps = 1000;
  EXPECT_EQ(config.schedule().warmup_steps, 20);
  EXPECT_EQ(config.schedule().decay_steps, 300);
  EXPECT_DOUBLE_EQ(config.schedule().floor, 1e-4);
  config.steps = 1'000'000;
  EXPECT_EQ(config.schedule().warmup_steps, 2000);
}

TEST(TrainingConfigTest, HelpNamesEveryKey) {
  const std::string help = describe_training_keys();
  const OrderedJson defaults = training_config_to_json(TrainingConfig{});
  for (const auto& [key, value] : defaults.items()) EXPECT_THAT(help, HasSubstr("  " + key + " "));
}

}  // namespace
}  // namespace fathom
