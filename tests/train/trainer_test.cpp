#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "io/checkpoint_folder.h"
#include "model/load.h"
#include "model/save.h"
#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/ranks.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer_writer.h"
#include "train/checkpoint.h"
#include "train/context_extension.h"
#include "train/prepare.h"
#include "train/run_folder.h"
#include "train/sample_folder.h"

namespace fathom {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

std::string bytes_of(const std::filesystem::path& file) {
  return read_text_file(file, 1U << 30U);
}

class TrainerTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::filesystem::path data_ = folder_.path() / "data";
  TrainOptions options_;

  void SetUp() override {
    create_folders(data_);
    std::string text;
    for (int i = 0; i < 400; ++i)
      text += "the cat " + std::string(i % 3 == 0 ? "sat on the mat" : "saw a dog") + " and ran\n";
    const std::filesystem::path input = folder_.path() / "text.txt";
    write_file_atomically(input, text);
    BpeTrainer trainer({.vocab_size = 270});
    trainer.add(text);
    write_tokenizer(trainer.finish(), data_);
    prepare(data_, {{.inputs = {input}}});

    options_.model = test::tiny_v3();
    options_.model.vocab_size = 272;
    options_.model.num_nextn_predict_layers = 1;
    options_.training.sequence_length = 16;
    options_.training.batch_size = 4;
    options_.training.micro_batch_size = 2;
    options_.training.steps = 8;
    options_.training.learning_rate = 1e-2;
    options_.training.warmup_steps = 2;
    options_.training.eval_interval = 4;
    options_.training.eval_tokens = 100;
    options_.training.checkpoint_interval = 3;
    options_.training.keep_checkpoints = 0;
    options_.data = data_;
  }

  /// Into a folder that has a tokenizer.
  static void prepare(const std::filesystem::path& output, std::vector<CorpusOptions> sources) {
    PrepareOptions prepare;
    prepare.sources = std::move(sources);
    prepare.output = output;
    prepare.held_out = 0.05;
    ThreadPool pool(2);
    prepare_data(prepare, pool, [](const PrepareProgress&) {});
  }

  TrainResult run(const std::string& name, std::optional<std::int64_t> stop_at = {},
                  std::size_t threads = 2) {
    options_.output = folder_.path() / name;
    options_.stop_at = stop_at;
    ThreadPool pool(threads);
    return train(options_, pool);
  }

  /// All bytes of the newest checkpoint that the result of training decides.
  std::string state(const std::string& name) const {
    const std::filesystem::path latest = folder_.path() / name / "latest";
    return bytes_of(latest / "model.safetensors") + bytes_of(latest / "optimizer.safetensors") +
           bytes_of(latest / "state.json");
  }

  /// Steps and, negative, evaluations of a run's metrics, with their losses.
  std::vector<std::pair<std::int64_t, double>> metrics(const std::string& name) const {
    std::vector<std::pair<std::int64_t, double>> list;
    read_metrics(
        folder_.path() / name / "metrics.jsonl",
        [&](const StepMetrics& m) { list.emplace_back(m.step, m.loss); },
        [&](const EvalMetrics& m) { list.emplace_back(-m.step, m.loss); });
    return list;
  }

  /// A run at once, and another, NAME-parts, that stops and goes on with other numbers of threads, end with
  /// the same bytes and have measured the same.
  TrainResult expect_exact_resume(const std::string& name, const std::vector<std::int64_t>& stops) {
    TrainResult whole = run(name);
    const std::string parts = name + "-parts";
    std::size_t threads = 1;
    for (const std::int64_t stop : stops) {
      run(parts, stop, threads);
      options_.resume = true;
      threads = threads % 3 + 1;
    }
    run(parts, {}, threads);
    options_.resume = false;
    EXPECT_EQ(state(parts), state(name)) << name;
    EXPECT_EQ(metrics(parts), metrics(name)) << name;
    return whole;
  }

  /// A run that is good for three steps, and then so bad that its loss is no number.
  std::string error_of_divergence() {
    run("run", 3);
    options_.resume = true;
    options_.training.learning_rate = 1e3;
    options_.training.gradient_clip = 0;
    options_.training.weight_decay = 1e3;
    options_.training.steps = 60;
    options_.training.checkpoint_interval = 0;
    return error_of([&] { run("run"); });
  }
};

TEST_F(TrainerTest, LossFallsOnTrainingAndHeldOutText) {
  options_.training.steps = 30;
  options_.training.eval_interval = 15;
  const TrainResult result = run("run");
  const auto list = metrics("run");
  EXPECT_TRUE(result.complete);
  EXPECT_NEAR(list.front().second, std::log(272.0), 0.5);  // about as good as chance
  EXPECT_LT(list[list.size() - 2].second, 0.5 * list.front().second);
  EXPECT_LT(result.evaluation->loss, 0.5 * std::log(272.0));
  EXPECT_GT(result.evaluation->bits_per_byte, 0);
  EXPECT_EQ(result.evaluation->tokens, 100);
  // The text repeats itself, so the module soon drafts what the main head says.
  ASSERT_EQ(result.evaluation->draft_acceptance.size(), 1U);
  EXPECT_GT(result.evaluation->draft_acceptance[0], 0.3);
  EXPECT_GT(result.evaluation->sampled_draft_acceptance[0], 0.1);
  EXPECT_DOUBLE_EQ(*result.evaluation->tokens_per_step, 1 + result.evaluation->draft_acceptance[0]);
}

TEST_F(TrainerTest, AResumedRunHasTheSameBytes) {
  expect_exact_resume("run", {3, 5});
}

TEST_F(TrainerTest, HeldOutTextMeasuresTheSameToTheBitOnAnyNumberOfRanks) {
  options_.training.steps = 2;
  options_.training.learning_rate = 0;  // so that weights are the same
  options_.training.router_bias_update_rate = 0;
  options_.training.eval_tokens = 0;
  const EvalMetrics one = run("one").evaluation.value();
  for (const int count : {2, 3}) {
    options_.output = folder_.path() / ("on" + std::to_string(count));
    std::optional<EvalMetrics> many;
    test::on_ranks(count, [&](Communicator& ranks) {
      ThreadPool pool(1);
      const TrainResult result = train(options_, ranks, pool);
      if (ranks.rank() == 0) many = result.evaluation;
      EXPECT_EQ(result.step, 2);
    });
    ASSERT_TRUE(many.has_value());
    EXPECT_EQ(many->loss, one.loss);
    EXPECT_EQ(many->mtp_loss, one.mtp_loss);
    EXPECT_EQ(many->bits_per_byte, one.bits_per_byte);
    EXPECT_EQ(many->draft_acceptance, one.draft_acceptance);
    EXPECT_EQ(many->sampled_draft_acceptance, one.sampled_draft_acceptance);
    EXPECT_EQ(many->batch_max_vio, one.batch_max_vio);
    EXPECT_EQ(many->expert_load, one.expert_load);
  }
}

TEST_F(TrainerTest, ACheckpointOfSeveralRanksIsContinuedByAnyNumber) {
  const auto run_on = [&](int count, const std::string& name, std::optional<std::int64_t> stop_at) {
    options_.output = folder_.path() / name;
    options_.stop_at = stop_at;
    test::on_ranks(count, [&](Communicator& ranks) {
      ThreadPool pool(1);
      train(options_, ranks, pool);
    });
  };
  options_.training.ema_decay = 0.5;
  options_.training.checkpoint_dtype = DType::bf16;
  run("whole");
  run_on(3, "parts", 3);
  options_.resume = true;
  run_on(2, "parts", 5);
  run_on(1, "parts", 6);
  run_on(4, "parts", {});
  const auto got = metrics("parts");
  const auto wanted = metrics("whole");
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].first, wanted[i].first);
    EXPECT_NEAR(got[i].second, wanted[i].second, 1e-4 * wanted[i].second) << "step " << got[i].first;
  }
}

TEST_F(TrainerTest, AResumedRunWithBf16CheckpointsHasTheSameBytes) {
  options_.training.checkpoint_dtype = DType::bf16;
  expect_exact_resume("run", {4});
}

TEST_F(TrainerTest, ThreadsDoNotChangeABit) {
  run("one", {}, 1);
  run("four", {}, 4);
  EXPECT_EQ(state("one"), state("four"));
}

TEST_F(TrainerTest, AKilledRunGoesOnFromItsLastCheckpoint) {
  run("whole");
  // As a kill at step 5 leaves it: the checkpoint of step 3, metrics beyond it, and a half-written one.
  run("killed", 5);
  const std::filesystem::path killed = folder_.path() / "killed";
  std::filesystem::rename(killed / "checkpoints" / "step-000005", killed / "checkpoints" / "writing-000005");
  std::ofstream(killed / "metrics.jsonl", std::ios::app) << "{\"step\":6,\"lo";
  options_.resume = true;
  run("killed");
  EXPECT_EQ(state("killed"), state("whole"));
  EXPECT_EQ(metrics("killed"), metrics("whole"));
}

TEST_F(TrainerTest, ARunOfAnOlderVersionGoesOn) {
  run("run", 4);
  const std::filesystem::path log = folder_.path() / "run" / "metrics.jsonl";
  std::ifstream in(log);
  std::string older;
  for (std::string line; std::getline(in, line);) {
    OrderedJson json = OrderedJson::parse(line);
    for (const char* later : {"draft_acceptance", "sampled_draft_acceptance", "tokens_per_step",
                              "needle_accuracy", "held_out_max_vio", "mtp_loss_factor"})
      json.erase(later);
    older += json.dump() + "\n";
  }
  write_file_atomically(log, older);
  options_.resume = true;
  EXPECT_TRUE(run("run").complete);
  EXPECT_EQ(bytes_of(log).substr(0, older.size()), older);
}

TEST_F(TrainerTest, ResumeIsExactInEveryPrecisionWithAnyNumberOfThreads) {
  for (const auto& [name, precision] : {std::pair{"bf16", Precision::bf16}, {"fp8", Precision::fp8}}) {
    options_.training.precision = precision;
    expect_exact_resume(name, {3, 5});
  }
}

TEST_F(TrainerTest, LossFallsInFp8AndTheCheckpointIsAReleasedStyleOne) {
  options_.training.precision = Precision::fp8;
  options_.training.steps = 30;
  const TrainResult result = run("run");
  EXPECT_LT(result.evaluation->loss, 0.5 * std::log(272.0));
  const Json config = read_json_file(result.checkpoint / "config.json");
  EXPECT_EQ(config.at("quantization_config"),
            Json::parse(R"({"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                            "weight_block_size": [128, 128]})"));
  const CheckpointFolder weights(result.checkpoint);
  EXPECT_EQ(weights.get("model.layers.1.mlp.experts.0.up_proj.weight").dtype(), DType::f8_e4m3);
  EXPECT_EQ(weights.get("model.layers.1.mlp.experts.0.up_proj.weight_scale_inv").dtype(), DType::f32);
  for (const char* wide : {"model.embed_tokens.weight", "lm_head.weight", "model.layers.1.mlp.gate.weight",
                           "model.layers.0.input_layernorm.weight", "model.layers.3.eh_proj.weight"})
    EXPECT_EQ(weights.get(wide).dtype(), DType::bf16) << wide;
  const SafetensorsFile optimizer(result.checkpoint / "optimizer.safetensors");
  EXPECT_EQ(optimizer.get("first_moment.model.norm.weight").dtype(), DType::bf16);
  EXPECT_EQ(optimizer.get("master.model.norm.weight").dtype(), DType::f32);
}

TEST_F(TrainerTest, PrecisionMayChangeOnResume) {
  run("run", 3);
  options_.resume = true;
  options_.training.precision = Precision::fp8;
  run("run", 5);
  options_.training.precision = Precision::f32;
  EXPECT_TRUE(run("run").complete);
}

TEST_F(TrainerTest, ALossThatIsNoNumberIsFoundInFp8) {
  options_.training.precision = Precision::fp8;
  EXPECT_THAT(error_of_divergence(), HasSubstr("the last good checkpoint is"));
}

TEST_F(TrainerTest, ResumeBeginsARunThatHasNoCheckpoint) {
  options_.resume = true;
  EXPECT_TRUE(run("fresh").complete);
}

TEST_F(TrainerTest, MicroBatchesGiveTheGradientOfTheBatch) {
  options_.training.balance_loss_factor = 0.01;
  run("two");
  options_.training.micro_batch_size = 0;
  run("one");
  const auto a = metrics("one");
  const auto b = metrics("two");
  ASSERT_EQ(a.size(), b.size());
  // The same sums in another order: f32 rounding, grown over eight steps of Adam.
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].second, b[i].second, 2e-3) << i;
}

/// Samples of many lengths, of whose tokens the later ones are learned.
std::vector<SampleSet::Sample> counting_samples(int count, int first) {
  std::vector<SampleSet::Sample> samples;
  for (int i = first; i < first + count; ++i) {
    SampleSet::Sample& sample = samples.emplace_back();
    for (int t = 0; t < 3 + i % 9; ++t) {
      sample.tokens.push_back((7 * i + 3 * t) % 200);
      sample.learned.push_back(t > i % 3 ? 1 : 0);
    }
  }
  return samples;
}

TEST_F(TrainerTest, SamplesAreLearnedAndResumedToTheSameBytes) {
  test::write_sample_folder(data_, 270, counting_samples(60, 0), counting_samples(9, 100));
  const TrainResult result = expect_exact_resume("run", {3, 5});
  EXPECT_LT(result.evaluation->loss, std::log(272.0));
  EXPECT_GT(result.evaluation->tokens, 0);
  EXPECT_GT(result.evaluation->bits_per_byte, 0);
}

TEST_F(TrainerTest, EachTargetOfAStepCountsAlikeHoweverSamplesArePacked) {
  test::write_sample_folder(data_, 270, counting_samples(60, 0));
  options_.training.steps = 1;
  options_.training.warmup_steps = 0;
  // These two are means of their own over a micro-batch.
  options_.training.mtp_loss_factor = 0;
  options_.training.balance_loss_factor = 0;
  const auto first_step = [&](std::int64_t micro_batch_size) {
    options_.training.micro_batch_size = micro_batch_size;
    const std::string name = "by-" + std::to_string(micro_batch_size);
    run(name);
    StepMetrics first;
    read_metrics(
        folder_.path() / name / "metrics.jsonl", [&](const StepMetrics& step) { first = step; },
        [](const EvalMetrics&) {});
    return first;
  };
  const StepMetrics whole = first_step(0);
  for (const std::int64_t size : {1, 2}) {
    const StepMetrics parts = first_step(size);
    EXPECT_EQ(parts.tokens, whole.tokens);
    EXPECT_NEAR(parts.loss, whole.loss, 1e-6 * whole.loss) << size;
    EXPECT_NEAR(parts.gradient_norm, whole.gradient_norm, 1e-5 * whole.gradient_norm) << size;
  }
}

TEST_F(TrainerTest, ARunFolderIsNotTakenOverWithoutResume) {
  run("run", 3);
  EXPECT_EQ(error_of([&] { run("run"); }),
            (folder_.path() / "run").string() +
                " already holds a run at step 3: add --resume to continue, or choose another --output");
}

TEST_F(TrainerTest, AStopRequestEndsWithACheckpoint) {
  const std::atomic<bool> stop{true};
  options_.stop = &stop;
  options_.output = folder_.path() / "run";
  ThreadPool pool(2);
  const TrainResult result = train(options_, pool);
  EXPECT_FALSE(result.complete);
  EXPECT_EQ(result.step, 0);
  options_.stop = nullptr;
  options_.resume = true;
  EXPECT_TRUE(run("run").complete);
}

TEST_F(TrainerTest, ACheckpointIsAModelFolder) {
  run("run", 3);
  const std::filesystem::path latest = folder_.path() / "run" / "latest";
  const LoadedModel model = load_model(latest);
  EXPECT_EQ(model.config.vocab_size, 272);
  EXPECT_EQ(model.config.num_nextn_predict_layers, 1);
  EXPECT_FALSE(model.config.eos_token_ids.empty()) << "the data's EOS belongs into config.json";
  EXPECT_EQ(bytes_of(latest / "tokenizer.json"), bytes_of(data_ / "tokenizer.json"));
}

TEST_F(TrainerTest, RouterBiasFollowsTheLoadAlone) {
  options_.training.router_bias_update_rate = 0.25;
  options_.training.steps = 3;
  run("run");
  LoadedModel model = load_model_f32(folder_.path() / "run" / "latest");
  int biases = 0;
  visit_parameters(model.config, model.weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    if (spec.kind != ParameterKind::router_bias) return;
    ++biases;
    for (const float b : value.values()) EXPECT_EQ(b * 4, std::round(b * 4)) << "steps of a quarter";
  });
  EXPECT_EQ(biases, 3);  // two MoE layers and the MTP module's
}

TEST_F(TrainerTest, WithoutTheBiasItStaysWhereItWas) {
  for (const Balance balance : {Balance::aux_loss, Balance::none}) {
    options_.training.balance = balance;
    const std::string name = balance == Balance::none ? "none" : "aux_loss";
    run(name);
    LoadedModel model = load_model_f32(folder_.path() / name / "latest");
    visit_parameters(model.config, model.weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
      if (spec.kind != ParameterKind::router_bias) return;
      EXPECT_THAT(value.values(), testing::Each(0.0F));
    });
    EXPECT_EQ(model.config.seq_aux, std::nullopt) << "a comparison is no property of the model";
  }
  EXPECT_NE(state("none"), state("aux_loss"));
}

TEST_F(TrainerTest, TheClassicalLossEvensTheLoad) {
  options_.training.steps = 30;
  options_.training.learning_rate = 3e-3;
  const auto final_max_vio = [&](Balance balance, const std::string& name) {
    options_.training.balance = balance;
    options_.training.aux_loss_factor = 0.2;
    return run(name).evaluation->max_vio.value();
  };
  EXPECT_LT(final_max_vio(Balance::aux_loss, "aux_loss"), 0.75 * final_max_vio(Balance::none, "none"));
}

TEST_F(TrainerTest, SchedulesAndRampResumeToTheSameBytes) {
  options_.training.initial_batch_size = 2;
  options_.training.batch_size = 8;
  options_.training.batch_ramp_until = RunPosition{.token_percent = 60};
  options_.training.learning_rate = Schedule({{.from = 0, .to = 1e-2, .until = RunPosition{3}},
                                              {.from = 1e-2, .to = 1e-3, .until = RunPosition{6}},
                                              {.from = 1e-4, .to = 1e-4}});
  options_.training.warmup_steps.reset();
  options_.training.mtp_loss_factor =
      Schedule({{.from = 0.3, .to = 0.3, .until = RunPosition{5}}, {0.1, 0.1}});
  options_.training.router_bias_update_rate =
      Schedule({{.from = 0.01, .to = 0.01, .until = RunPosition{6}}, {0, 0}});
  expect_exact_resume("run", {1, 4, 7});
  std::vector<std::int64_t> batches;
  std::vector<double> factors;
  std::int64_t sequences = 0;
  read_metrics(
      folder_.path() / "run-parts" / "metrics.jsonl",
      [&](const StepMetrics& m) {
        batches.push_back(m.batch_size);
        factors.push_back(m.mtp_loss_factor);
        sequences += m.batch_size;
        EXPECT_EQ(m.tokens, sequences * 16);
        EXPECT_EQ(m.router_bias_update_rate, m.step <= 6 ? 0.01 : 0.0);
      },
      [](const EvalMetrics&) {});
  EXPECT_THAT(batches, ElementsAre(2, 2, 4, 4, 6, 6, 8, 8)) << "six steps hold 60 % of the tokens";
  EXPECT_THAT(factors, ElementsAre(0.3, 0.3, 0.3, 0.3, 0.3, 0.1, 0.1, 0.1));
  EXPECT_EQ(load_training_state(folder_.path() / "run-parts" / "latest").sequences, sequences);
}

TEST_F(TrainerTest, MuonTrainsAndResumesToTheSameBytes) {
  options_.training.optimizer = OptimizerKind::muon;
  options_.training.checkpoint_dtype = DType::bf16;
  const TrainResult result = expect_exact_resume("run", {3, 5});
  EXPECT_LT(result.evaluation->loss, 0.8 * std::log(272.0));
  options_.resume = true;
  options_.training.optimizer = OptimizerKind::adamw;
  EXPECT_THAT(error_of([&] { run("run"); }), HasSubstr("training.optimizer is muon"));
}

TEST_F(TrainerTest, TheAverageIsAModelOfItsOwnAndResumesToTheSameBytes) {
  options_.training.ema_decay = 0.5;
  const auto average = [&](const std::string& name) {
    return bytes_of(folder_.path() / name / "latest" / "average" / "model.safetensors");
  };
  for (const DType dtype : {DType::f32, DType::bf16}) {
    options_.training.checkpoint_dtype = dtype;
    const std::string name(dtype_name(dtype));
    const TrainResult result = expect_exact_resume(name, {3});
    EXPECT_NE(result.evaluation->averaged_loss, std::nullopt);
    EXPECT_EQ(average(name + "-parts"), average(name));
  }
  // The last steps' weights are all that an average of decay 0.5 sees: it is near them, and not them.
  const LoadedModel last = load_model_f32(folder_.path() / "F32" / "latest");
  const LoadedModel mean = load_model_f32(folder_.path() / "F32" / "latest" / "average");
  float difference = 0;
  for (std::size_t i = 0; i < last.weights.norm.values().size(); ++i)
    difference =
        std::max(difference, std::abs(last.weights.norm.values()[i] - mean.weights.norm.values()[i]));
  EXPECT_GT(difference, 0);
  EXPECT_LT(difference, 0.02);  // two steps of 1e-2
}

TEST_F(TrainerTest, ASpikeStopsAndNamesTheCheckpointBeforeIt) {
  options_.training.steps = 80;
  options_.training.checkpoint_interval = 10;
  options_.training.eval_interval = 0;
  options_.training.spike_steps = 4;
  run("run", 30);
  options_.resume = true;
  options_.training.learning_rate = 3.0;
  const std::string error = error_of([&] { run("run"); });
  EXPECT_THAT(error, HasSubstr("for 4 steps now; the last good checkpoint is"));
  EXPECT_THAT(error, HasSubstr("step-000030"));
  EXPECT_THAT(error, HasSubstr("--set training.spike_threshold=0"));
  options_.training.spike_threshold = 0;
  options_.training.steps = 40;
  EXPECT_TRUE(run("run").complete) << "goes on when told to";
}

TEST_F(TrainerTest, DeeperMtpTrainsAllItsModulesTogether) {
  for (const std::int64_t depth : {2, 3}) {
    options_.model.num_nextn_predict_layers = depth;
    options_.training.steps = 16;
    options_.training.eval_interval = 0;
    const std::string name = "depth" + std::to_string(depth);
    const TrainResult result = expect_exact_resume(name, {11});
    EXPECT_LT(*result.evaluation->mtp_loss, 0.6 * std::log(272.0)) << depth;
    EXPECT_LT(result.evaluation->loss, 0.6 * std::log(272.0)) << depth;
    // Each module has learned: none is as it began.
    const TransformerWeights begin = random_weights(options_.model, 1);
    const LoadedModel end = load_model_f32(folder_.path() / name / "latest");
    ASSERT_EQ(static_cast<std::int64_t>(end.weights.mtp.size()), depth);
    for (std::size_t k = 0; k < end.weights.mtp.size(); ++k)
      EXPECT_NE(end.weights.mtp[k].eh_proj.weight.f32()[0], begin.mtp[k].eh_proj.weight.f32()[0]) << k;
  }
}

TEST_F(TrainerTest, InitBeginsWithAModelsWeights) {
  run("first");
  options_.init = folder_.path() / "first" / "latest";
  options_.training.learning_rate = 0;
  options_.training.router_bias_update_rate = 0;
  run("second");
  EXPECT_EQ(bytes_of(folder_.path() / "first" / "latest" / "model.safetensors"),
            bytes_of(folder_.path() / "second" / "latest" / "model.safetensors"));
  options_.model.hidden_size *= 2;
  EXPECT_THAT(error_of([&] { run("third"); }), HasSubstr("hidden_size is"));
}

TEST_F(TrainerTest, InitMayChangeRopeScalingAndNothingElse) {
  run("first");
  const std::filesystem::path first = folder_.path() / "first" / "latest";
  options_.init = first;
  options_.training.learning_rate = 0;
  options_.training.router_bias_update_rate = 0;
  options_.training.sequence_length = 40;
  options_.model.max_position_embeddings = 20;
  EXPECT_THAT(error_of([&] { run("too_long"); }),
              HasSubstr("training.sequence_length is 40, the config's max_position_embeddings 20"));
  options_.model = extend_context(options_.model, 4);
  run("second");
  const std::filesystem::path second = folder_.path() / "second" / "latest";
  EXPECT_EQ(bytes_of(first / "model.safetensors"), bytes_of(second / "model.safetensors"));
  const ModelConfig written = load_model_config(second / "config.json");
  ASSERT_TRUE(written.rope_scaling);
  EXPECT_EQ(written.rope_scaling->factor, 4);
  EXPECT_EQ(written.max_position_embeddings, 80);

  // The second stage goes on with what the first one wrote.
  options_.model = written;
  options_.init = second;
  options_.training.sequence_length = 80;
  run("third");
  // A run that is resumed keeps its own.
  options_.init.reset();
  options_.resume = true;
  options_.model.rope_scaling->factor = 8;
  EXPECT_THAT(error_of([&] { run("third"); }), HasSubstr("rope_scaling is"));
  options_.resume = false;
  options_.init = second;
  options_.model.rope_theta = 5e5;
  EXPECT_THAT(error_of([&] { run("fourth"); }), HasSubstr("rope_theta is"));
}

TEST_F(TrainerTest, ALossThatIsNoNumberStopsAndNamesTheLastCheckpoint) {
  const std::string error = error_of_divergence();
  EXPECT_THAT(error, HasSubstr("the last good checkpoint is"));
  EXPECT_THAT(error, HasSubstr("step-000003"));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "run" / "report.html")) << "to see how it came";
}

TEST_F(TrainerTest, OtherDataOrSequenceLengthCannotBeResumedWith) {
  run("run", 3);
  options_.resume = true;
  options_.training.seed = 2;
  EXPECT_THAT(error_of([&] { run("run"); }), HasSubstr("they cannot change"));
  options_.training.seed = 1;
  options_.model.num_experts_per_tok += 1;
  EXPECT_THAT(error_of([&] { run("run"); }), HasSubstr("num_experts_per_tok is"));
}

TEST_F(TrainerTest, AVocabularyTooSmallForTheDataIsAnError) {
  options_.model.vocab_size = 100;
  EXPECT_THAT(error_of([&] { run("run"); }), HasSubstr("the config's vocab_size is 100: raise it"));
}

TEST_F(TrainerTest, ASequenceLongerThanTheContextIsAnErrorThatLeavesNoFolder) {
  options_.training.sequence_length = 257;
  EXPECT_THAT(error_of([&] { run("run"); }), HasSubstr("max_position_embeddings 256"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "run"));
}

TEST_F(TrainerTest, ARefusedRunLeavesNoFolder) {
  options_.init = folder_.path();  // no model there
  error_of([&] { run("run"); });
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "run"));
}

TEST_F(TrainerTest, AFullDiskKeepsTheCheckpointsThereAre) {
  run("run", 3);
  const std::string before = state("run");
  options_.resume = true;
  {
    const test::FileSizeLimit limit(20'000);
    EXPECT_THAT(error_of([&] { run("run"); }), HasSubstr("cannot write"));
  }
  EXPECT_EQ(state("run"), before);
  EXPECT_TRUE(run("run").complete);
}

TEST_F(TrainerTest, HeldOutLossIsThatOfEachSourceAlone) {
  const std::filesystem::path words = folder_.path() / "words.txt";
  const std::filesystem::path numbers = folder_.path() / "numbers.txt";
  std::string lines;
  for (int i = 0; i < 300; ++i) lines += "the cat saw " + std::to_string(i * i) + "\n";
  write_file_atomically(numbers, lines);
  write_file_atomically(words, lines.substr(0, lines.size() / 3) + bytes_of(folder_.path() / "text.txt"));
  const auto evaluation_on = [&](const std::string& name, std::vector<CorpusOptions> sources) {
    options_.data = folder_.path() / name;
    install_tokenizer(data_, options_.data);
    prepare(options_.data, std::move(sources));
    return run("run-" + name).evaluation.value();
  };
  options_.training.learning_rate = 0;
  options_.training.router_bias_update_rate = 0;
  options_.training.steps = 2;
  options_.training.eval_tokens = 0;
  const EvalMetrics both =
      evaluation_on("both", {{.inputs = {words}, .name = "words"}, {.inputs = {numbers}, .name = "numbers"}});
  const EvalMetrics first = evaluation_on("first", {{.inputs = {words}}});
  const EvalMetrics second = evaluation_on("second", {{.inputs = {numbers}}});
  EXPECT_THAT(first.source_loss, ElementsAre());
  EXPECT_THAT(both.source_loss,
              ElementsAre(SourceLoss{"words", first.loss}, SourceLoss{"numbers", second.loss}));
  EXPECT_EQ(both.tokens, first.tokens + second.tokens);
  const auto total = [](const EvalMetrics& m) { return m.loss * static_cast<double>(m.tokens); };
  EXPECT_NEAR(total(both), total(first) + total(second), 1e-9 * total(both));
  EXPECT_GT(std::abs(first.loss - second.loss), 1e-4);

  // A part of it is a part of each.
  options_.training.eval_tokens = both.tokens / 2;
  options_.data = folder_.path() / "both";
  const EvalMetrics half = run("half").evaluation.value();
  EXPECT_EQ(half.tokens, both.tokens / 2);
  EXPECT_EQ(half.source_loss.size(), 2U);
}

TEST_F(TrainerTest, ACorruptShardIsNamed) {
  const std::filesystem::path shard = data_ / "train-00000.tokens";
  std::string bytes = bytes_of(shard);
  bytes[100] = static_cast<char>(bytes[100] ^ 1);
  std::ofstream(shard, std::ios::binary) << bytes;
  EXPECT_THAT(error_of([&] { run("run"); }), HasSubstr("train-00000.tokens: checksum mismatch"));
}

TEST_F(TrainerTest, ADamagedCheckpointIsNamed) {
  run("run", 3);
  const std::filesystem::path latest = folder_.path() / "run" / "checkpoints" / "step-000003";
  const std::string bytes = bytes_of(latest / "optimizer.safetensors");
  std::ofstream(latest / "optimizer.safetensors", std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  options_.resume = true;
  EXPECT_THAT(error_of([&] { run("run"); }), HasSubstr("optimizer.safetensors"));
  std::filesystem::remove(latest / "optimizer.safetensors");
  EXPECT_THAT(error_of([&] { run("run"); }), HasSubstr("optimizer.safetensors"));
}

TEST_F(TrainerTest, NeedlesAreTriedWithEachMeasurement) {
  // The tokenizer has few words: a fact with its question takes some 160 tokens.
  options_.training.sequence_length = 256;
  options_.training.batch_size = 2;
  options_.training.micro_batch_size = 0;
  options_.training.needle_length = 100;
  EXPECT_THAT(error_of([&] { run("short"); }),
              HasSubstr("training.needle_length is 100, with this tokenizer"));
  options_.training.needle_length = 256;
  run("run");
  std::vector<double> found;
  read_metrics(
      folder_.path() / "run" / "metrics.jsonl", [](const StepMetrics&) {},
      [&](const EvalMetrics& m) { found.push_back(m.needle_accuracy.value()); });
  EXPECT_THAT(found, ElementsAre(0, 0)) << "a model of eight steps finds nothing";
  const std::string picture = bytes_of(folder_.path() / "run" / "needle.svg");
  EXPECT_THAT(picture, HasSubstr("run, step 8"));
  EXPECT_THAT(bytes_of(folder_.path() / "run" / "report.html"), HasSubstr("run, step 8"));
}

TEST_F(TrainerTest, TheReportShowsTheRun) {
  run("run");
  const std::string page = bytes_of(folder_.path() / "run" / "report.html");
  EXPECT_THAT(page, HasSubstr("\"layers\":[\"layer 1\",\"layer 2\",\"MTP 1\"]"));
  EXPECT_THAT(page, HasSubstr("\"step\":8"));
}

}  // namespace
}  // namespace fathom
