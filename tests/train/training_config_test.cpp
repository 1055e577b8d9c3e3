#include "train/training_config.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "support/error_text.h"

namespace fathom {
namespace {

using test::error_of;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

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
  EXPECT_EQ(balance_factor(config, ModelConfig{}), 0.0001);
  EXPECT_EQ(config.balance, Balance::bias);
  EXPECT_EQ(config.router_bias_update_rate.first(), 0.001);
  EXPECT_EQ(config.mtp_loss_factor.first(), 0.3);
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
  EXPECT_EQ(again.learning_rate.first(), 0.00123);
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
  EXPECT_THAT(section_error(R"({"checkpoint_dtype": "f64"})"),
              HasSubstr("must be one of \"f32\", \"bf16\", \"f8_e4m3\", not \"f64\""));
  EXPECT_THAT(section_error(R"([1])"), HasSubstr("\"training\" must be an object"));
}

/// The message is one short line that names file and key, whatever stands there.
TEST(TrainingConfigTest, EachKeyRefusesWhatItCannotBe) {
  const std::string endless = '"' + std::string(100'000, 'x') + '"';
  const OrderedJson defaults = training_config_to_json(TrainingConfig{});
  for (const auto& [key, value] : defaults.items()) {
    for (const std::string& wrong : {std::string("-1"), std::string("1e300"), std::string("true"),
                                     std::string(R"("nan")"), std::string("{}"), std::string("[]"),
                                     std::string("[[1]]"), std::string(R"("a\n\u001b")"), endless}) {
      const std::string error = section_error(fmt::format(R"({{"{}": {}}})", key, wrong));
      EXPECT_THAT(error, StartsWith("c.json: training." + key)) << wrong.substr(0, 40);
      EXPECT_LT(error.size(), 250U);
      EXPECT_THAT(error, Not(ContainsRegex("[[:cntrl:]]")));
    }
  }
}

TEST(TrainingConfigTest, CheckpointsAreStoredAsThePrecisionMultipliesUnlessAsked) {
  const auto stored = [](const char* section) {
    return training_config_from_json({{"training", Json::parse(section)}}, "config.json").stored_dtype();
  };
  EXPECT_EQ(stored("{}"), DType::f32);
  EXPECT_EQ(stored(R"({"precision": "bf16"})"), DType::bf16);
  EXPECT_EQ(stored(R"({"precision": "fp8", "checkpoint_dtype": null})"), DType::f8_e4m3);
  EXPECT_EQ(stored(R"({"precision": "fp8", "checkpoint_dtype": "f32"})"), DType::f32);
  EXPECT_EQ(stored(R"({"checkpoint_dtype": "f8_e4m3"})"), DType::f8_e4m3);
  EXPECT_THAT(section_error(R"({"precision": "fp4"})"),
              HasSubstr("training.precision must be one of \"f32\", \"bf16\", \"fp8\", not \"fp4\""));
}

TEST(TrainingConfigTest, ValuesAtOddsAreNamed) {
  EXPECT_THAT(section_error(R"({"batch_size": 8, "micro_batch_size": 3})"), HasSubstr("must be multiples"));
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
  EXPECT_EQ(training.learning_rate.first(), 2e-3);
  EXPECT_EQ(training.steps, 100);
  EXPECT_EQ(training.checkpoint_dtype, DType::bf16);
  EXPECT_THROW(apply_override(config, "training.steps"), UsageError);
  EXPECT_THROW(apply_override(config, "=3"), UsageError);
}

TEST(TrainingConfigTest, OverridesMayBeAnything) {
  Json config;
  apply_override(config, "training.balance=\xff");
  EXPECT_THAT(error_of([&] { training_config_from_json(config, "c.json"); }),
              HasSubstr("c.json: training.balance must be one of"));
  apply_override(config, "training.balance=" + std::string(100'000, '['));
  EXPECT_THAT(error_of([&] { training_config_from_json(config, "c.json"); }),
              HasSubstr("c.json: training.balance must be one of"));
}

/// Released V3 configs leave aux_loss_alpha out: that must not turn the loss off.
TEST(TrainingConfigTest, TheTrainingSectionWinsOverTheModelsAlphaAndThatOverTheReports) {
  TrainingConfig training;
  ModelConfig model;
  EXPECT_EQ(balance_factor(training, model), 0.0001);
  model.aux_loss_alpha = 0.003;
  EXPECT_EQ(balance_factor(training, model), 0.003);
  training.balance_loss_factor = 0;
  EXPECT_EQ(balance_factor(training, model), 0.0);
  training.balance = Balance::aux_loss;
  EXPECT_EQ(balance_factor(training, model), 0.001) << "the baseline of arXiv 2408.15664";
  training.aux_loss_factor = 0.02;
  EXPECT_EQ(balance_factor(training, model), 0.02);
  training.balance = Balance::none;
  EXPECT_EQ(balance_factor(training, model), 0.0);
}

TEST(TrainingConfigTest, SchedulesRampAndChoicesReadBackTheSame) {
  const Json section = Json::parse(R"({
      "steps": 100, "batch_size": 16, "initial_batch_size": 4, "batch_ramp_until": "12.3%",
      "learning_rate": [{"from": 0, "to": 0.01, "until": 10},
                        {"to": 0.001, "until": "67.6%", "shape": "cosine"}, {"value": 0.0001}],
      "mtp_loss_factor": [{"value": 0.3, "until": "50%"}, {"value": 0.1}], "balance": "aux_loss"})");
  const TrainingConfig config = training_config_from_json(Json{{"training", section}}, "c");
  const Json written = Json::parse(training_config_to_json(config).dump());
  const TrainingConfig again = training_config_from_json(Json{{"training", written}}, "c");
  EXPECT_EQ(training_config_to_json(again), training_config_to_json(config));
  EXPECT_EQ(written.at("batch_ramp_until"), "12.3%");
  EXPECT_EQ(written.at("learning_rate").at(1).at("until"), "67.6%");
  EXPECT_EQ(written.at("learning_rate").at(1).at("from"), 0.01) << "where the segment before ended";
  EXPECT_EQ(written.at("mtp_loss_factor").at(1), (Json{{"value", 0.1}}));
  EXPECT_EQ(written.at("balance"), "aux_loss");
}

TEST(TrainingConfigTest, SchedulesThatContradictAreNamed) {
  EXPECT_THAT(section_error(R"({"learning_rate": [{"value": 1}, {"value": 2}]})"),
              HasSubstr("training.learning_rate[0] needs \"until\""));
  EXPECT_THAT(section_error(R"({"learning_rate": []})"),
              HasSubstr("training.learning_rate is an empty list"));
  EXPECT_THAT(section_error(R"({"learning_rate": [{"to": 1}]})"),
              HasSubstr("is the first and needs \"from\""));
  EXPECT_THAT(section_error(R"({"mtp_loss_factor": [{"value": -1}]})"),
              HasSubstr("training.mtp_loss_factor[0].value is -1"));
  EXPECT_THAT(section_error(R"({"mtp_loss_factor": [{"value": 1, "to": 2}]})"), HasSubstr("has both"));
  EXPECT_THAT(section_error(R"({"mtp_loss_factor": [{"valeu": 1}]})"), HasSubstr("unknown key \"valeu\""));
  EXPECT_THAT(section_error(R"({"mtp_loss_factor": [{"from": 1, "to": 2, "shape": "step"}]})"),
              HasSubstr("must be \"linear\" or \"cosine\""));
  for (const std::string until :
       {"\"ten\"", "\"101%\"", "\"-1%\"", "\"5\"", "\"nan%\"", "-1", "1.5", "1e300", "null"})
    EXPECT_THAT(section_error(R"({"mtp_loss_factor": [{"value": 1, "until": )" + until + "}]}"),
                HasSubstr("training.mtp_loss_factor[0].until"))
        << until;
  EXPECT_THAT(section_error(R"({"steps": 10, "mtp_loss_factor": [{"value": 1, "until": 11}, {"value": 0}]})"),
              HasSubstr("training.mtp_loss_factor: segment 1 ends after step 11, training.steps is 10"));
  EXPECT_THAT(section_error(R"({"steps": 10, "mtp_loss_factor":
                  [{"value": 1, "until": 6}, {"value": 0, "until": "50%"}, {"value": 0}]})"),
              HasSubstr("segment 2 ends after step 5, the one before it after step 6"));
  EXPECT_THAT(section_error(R"({"steps": 4, "mtp_loss_factor":
                  [{"value": 1, "until": "50%"}, {"value": 0, "until": "40%"}, {"value": 0}]})"),
              HasSubstr("training.mtp_loss_factor[1] ends at 40%, one before it at 50%"));
  EXPECT_THAT(section_error(R"({"warmup_steps": 3, "learning_rate": [{"from": 0, "to": 1}]})"),
              HasSubstr("leave out warmup_steps, decay_steps and final_learning_rate_factor"));
  EXPECT_THAT(section_error(R"({"initial_batch_size": 4})"), HasSubstr("give both or neither"));
  EXPECT_THAT(section_error(R"({"batch_ramp_until": 4})"), HasSubstr("give both or neither"));
  EXPECT_THAT(section_error(R"({"initial_batch_size": 32, "batch_ramp_until": 4})"), HasSubstr("exceeds"));
  EXPECT_THAT(section_error(R"({"initial_batch_size": 3, "batch_ramp_until": 4, "micro_batch_size": 2})"),
              HasSubstr("must be multiples of training.micro_batch_size (2)"));
  EXPECT_THAT(section_error(R"({"steps": 9e15, "batch_size": 16})"), HasSubstr("are more than 9e+15 tokens"));
  EXPECT_THAT(section_error(R"({"steps": 1e9, "batch_size": 16, "sequence_length": 1e6})"),
              HasSubstr("training.steps (1000000000) of training.batch_size (16)"));
  EXPECT_THAT(section_error(R"({"balance": "both"})"),
              HasSubstr("training.balance must be one of \"bias\", \"aux_loss\", \"none\", not \"both\""));
}

TEST(TrainingConfigTest, HelpNamesEveryKey) {
  const std::string help = describe_training_keys();
  const OrderedJson defaults = training_config_to_json(TrainingConfig{});
  for (const auto& [key, value] : defaults.items()) EXPECT_THAT(help, HasSubstr("  " + key + " "));
}

TEST(TrainingConfigTest, NeedlesAreNotLongerThanSequences) {
  EXPECT_THAT(error_of([] {
                training_config_from_json(
                    Json::parse(R"({"training": {"sequence_length": 128, "needle_length": 129}})"), "c.json");
              }),
              HasSubstr("c.json: training.needle_length (129) exceeds training.sequence_length (128)"));
}

}  // namespace
}  // namespace fathom
