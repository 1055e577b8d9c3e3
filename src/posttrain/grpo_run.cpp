#include "posttrain/grpo_run.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/ordered_json.h"
#include "base/progress.h"
#include "infer/score.h"
#include "posttrain/answer_engine.h"
#include "posttrain/line_file.h"
#include "posttrain/named_template.h"
#include "posttrain/policy_trainer.h"
#include "posttrain/prompt_format.h"
#include "posttrain/rollout.h"
#include "posttrain/task_registry.h"
#include "train/checkpoint.h"
#include "train/checkpoint_saver.h"
#include "train/run_facts.h"
#include "train/run_folder.h"

namespace fathom {
namespace {

constexpr std::uint64_t kLargestTokenizerFile = 256U << 20U;

OrderedJson to_json(const GrpoMetrics& m) {
  return {{"step", m.step},
          {"reward", m.reward},
          {"accuracy", m.accuracy},
          {"format", m.format},
          {"length", m.length},
          {"cut", m.cut},
          {"informative", m.informative},
          {"loss", m.loss},
          {"kl", m.kl},
          {"clipped", m.clipped},
          {"ratio", m.ratio},
          {"gradient_norm", m.gradient_norm},
          {"learning_rate", m.learning_rate},
          {"mismatch", m.mismatch},
          {"sampling_seconds", m.sampling_seconds},
          {"learning_seconds", m.learning_seconds},
          {"other_seconds", m.other_seconds},
          {"tokens_per_second", m.tokens_per_second}};
}

OrderedJson to_json(const GrpoEvaluation& e) {
  return {{"step", e.step}, {"test_accuracy", e.accuracy}, {"test_length", e.length}};
}

/// A model whose weights are f32, to be trained.
TextModel policy_of(const std::filesystem::path& folder, bool is_checkpoint) {
  const std::filesystem::path file = folder / "config.json";
  const ModelConfig config = model_config_from_json(read_json_file(file), file.string());
  return {folder, config,
          is_checkpoint ? load_training_weights(folder, config) : load_initial_weights(folder, config),
          Tokenizer::load(folder)};
}

/// One run.
class GrpoRun {
 public:
  GrpoRun(const GrpoOptions& options, ThreadPool& pool)
      : options_(options),
        context_{pool},
        task_(make_task(options.task)),
        folder_(options.output),
        resumed_(find_checkpoint()),
        source_(resumed_ ? RunFolder::checkpoint_of(options.output, *resumed_) : options.model),
        model_(policy_of(source_, resumed_.has_value())),
        transformer_(model_.config, model_.weights, model_.config.max_position_embeddings),
        optimizer_(model_.config, model_.weights),
        format_(make_template_format(ChatFormat(named_chat_source(model_.tokenizer, options.chat_template)))),
        trainer_(transformer_, load_reference(), optimizer_,
                 {options.loss, options.updates, static_cast<std::size_t>(options.pass_tokens),
                  options.gradient_clip}) {
    training_.checkpoint_dtype = DType::f32;
    training_.keep_checkpoints = 2;
    state_.seed = static_cast<std::int64_t>(options.seed);
    state_.sequence_length = options.max_tokens;
    state_.tokenizer_hash = checksum(read_text_file(source_ / "tokenizer.json", kLargestTokenizerFile));
    state_.data = std::filesystem::absolute(options.model);
    if (resumed_) restore();
    saved_step_ = state_.step;
    write_run_config(folder_.config_file(), model_.config, training_);
    metrics_.open(folder_.metrics_file(), std::ios::app);
    require(metrics_.good(), "{}: cannot be written to", folder_.metrics_file().string());
  }

  GrpoResult run(const std::function<void(const GrpoMetrics&)>& on_step,
                 const std::function<void(const GrpoEvaluation&)>& on_evaluation) {
    const auto evaluate_now = [&] {
      evaluation_ = evaluate();
      note(to_json(*evaluation_));
      on_evaluation(*evaluation_);
    };
    if (!resumed_ && options_.eval_interval > 0) evaluate_now();
    while (state_.step < options_.steps && !is_stopped()) {
      const GrpoMetrics metrics = one_step();
      note(to_json(metrics));
      on_step(metrics);
      if (is_due(options_.eval_interval)) evaluate_now();
      if (is_due(options_.checkpoint_interval)) save();
    }
    save();
    return {state_.step, state_.step >= options_.steps, folder_.checkpoint(state_.step), evaluation_};
  }

 private:
  [[nodiscard]] bool is_stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  [[nodiscard]] bool is_due(std::int64_t interval) const {
    return interval > 0 && (state_.step % interval == 0 || state_.step == options_.steps);
  }

  [[nodiscard]] std::optional<std::int64_t> find_checkpoint() const {
    const std::optional<std::int64_t> newest = folder_.newest_checkpoint();
    require(options_.resume || (!newest && !std::filesystem::exists(folder_.metrics_file())),
            "{} already holds a run at step {}: add --resume to continue, or choose another --output",
            options_.output.string(), newest.value_or(0));
    return newest;
  }

  const Transformer* load_reference() {
    if (options_.loss.kl_factor == 0) return nullptr;
    reference_weights_ = load_initial_weights(options_.model, model_.config);
    reference_ = std::make_unique<Transformer>(model_.config, reference_weights_,
                                               model_.config.max_position_embeddings);
    return reference_.get();
  }

  void restore() {
    const TrainingState saved = load_training_state(source_);
    require(saved.seed == state_.seed, "{}: the run has the seed {}, which cannot change", source_.string(),
            saved.seed);
    state_.step = saved.step;
    state_.sequences = saved.sequences;
    state_.tokens = saved.tokens;
    load_moments(source_, model_.config, optimizer_);
    // Steps that an interrupted run had done behind its last checkpoint are done again.
    std::string kept;
    for_each_line(folder_.metrics_file(), [&](std::string_view line, const std::string& where) {
      if (parse_json(line, where).value("step", std::int64_t{0}) <= state_.step)
        kept += std::string(line) + "\n";
    });
    write_file_atomically(folder_.metrics_file(), kept);
    log_info("continuing {} after step {}", folder_.path().string(), state_.step);
  }

  void note(const OrderedJson& json) {
    metrics_ << json.dump() << "\n" << std::flush;
    require(metrics_.good(), "{}: cannot be written to", folder_.metrics_file().string());
  }

  void save() {
    if (saved_step_ == state_.step) return;
    save_checkpoint(folder_, model_.config, training_, trained_tensors(model_.weights, optimizer_.moments()),
                    state_);
    saved_step_ = state_.step;
  }

  [[nodiscard]] AnswerRequest request_for(const Problem& problem, std::size_t id, double temperature,
                                          std::uint64_t seed) const {
    AnswerRequest request;
    request.id = id;
    request.prompt = prompt_ids(model_.tokenizer, *format_, problem.turns);
    request.options.max_tokens = options_.max_tokens;
    request.options.sampling.temperature = temperature;
    request.options.sampling.seed = seed;
    return request;
  }

  /// Answers by the weights as they are now: an engine keeps latents of prompts, so each step has its own.
  [[nodiscard]] std::vector<GivenAnswer> answer_all(const std::vector<AnswerRequest>& requests) const {
    AnswerEngine engine(context_.pool, model_, transformer_,
                        {options_.at_once, options_.cache_bytes, options_.cache_type});
    std::vector<GivenAnswer> given(requests.size());
    std::size_t next = 0;
    engine.answer_all(
        [&]() -> std::optional<AnswerRequest> {
          if (next == requests.size()) return std::nullopt;
          return requests[next++];
        },
        [&](GivenAnswer answer) {
          const std::size_t id = answer.id;
          given[id] = std::move(answer);
        },
        [] { return true; });
    return given;
  }

  [[nodiscard]] GrpoEvaluation evaluate() const {
    std::vector<Problem> problems;
    std::vector<AnswerRequest> requests;
    const std::int64_t count =
        std::min(options_.eval_count, task_->size(Split::test).value_or(options_.eval_count));
    for (std::int64_t i = 0; i < count; ++i) {
      problems.push_back(task_->problem(Split::test, 1, i));
      requests.push_back(request_for(problems.back(), requests.size(), 0, 0));
    }
    GrpoEvaluation evaluation;
    evaluation.step = state_.step;
    const std::vector<GivenAnswer> given = answer_all(requests);
    for (std::size_t i = 0; i < given.size(); ++i) {
      evaluation.accuracy +=
          task_->score(problems[i], {given[i].text, given[i].tokens}).accuracy / static_cast<double>(count);
      evaluation.length += static_cast<double>(given[i].tokens) / static_cast<double>(count);
    }
    return evaluation;
  }

  [[nodiscard]] double total_of(const Reward& reward) const {
    const RewardWeights& weights = options_.reward;
    return weights.accuracy * reward.accuracy + weights.format * reward.format +
           weights.language * reward.language + weights.length * reward.length;
  }

  /// Groups of answers to the questions from `first` on, one group after another, with their rewards.
  [[nodiscard]] std::vector<Rollout> sample_groups(std::int64_t first, std::int64_t count) const {
    std::vector<Problem> problems;
    std::vector<AnswerRequest> requests;
    for (std::int64_t q = 0; q < count; ++q) {
      problems.push_back(task_->problem(Split::train, options_.seed, first + q));
      for (std::int64_t a = 0; a < options_.answers; ++a)
        requests.push_back(request_for(problems.back(), requests.size(), options_.temperature,
                                       checksum(fmt::format("{} {} {}", options_.seed, first + q, a))));
    }
    std::vector<GivenAnswer> given = answer_all(requests);
    std::vector<Rollout> rollouts(given.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
      Rollout& rollout = rollouts[i];
      rollout.tokens = requests[i].prompt;
      rollout.prompt_tokens = rollout.tokens.size();
      rollout.tokens.insert(rollout.tokens.end(), given[i].ids.begin(), given[i].ids.end());
      rollout.is_cut = given[i].reason != StopReason::end_of_text;
      rollout.text = std::move(given[i].text);
      const Problem& problem = problems[i / static_cast<std::size_t>(options_.answers)];
      rollout.reward = task_->score(problem, {rollout.text, given[i].tokens});
      rollout.total = total_of(rollout.reward);
    }
    return rollouts;
  }

  /// Sets the advantages in each group. @return  the rollouts of groups that teach something
  [[nodiscard]] std::vector<Rollout> informative_of(std::vector<Rollout>& rollouts) const {
    const auto each = static_cast<std::size_t>(options_.answers);
    std::vector<Rollout> chosen;
    for (std::size_t begin = 0; begin < rollouts.size(); begin += each) {
      std::vector<double> rewards;
      for (std::size_t i = begin; i < begin + each; ++i) rewards.push_back(rollouts[i].total);
      if (!is_informative(rewards)) continue;
      const std::vector<double> advantages = group_advantages(rewards, options_.advantage);
      for (std::size_t i = 0; i < each; ++i) {
        rollouts[begin + i].advantage = advantages[i];
        chosen.push_back(rollouts[begin + i]);
      }
    }
    return chosen;
  }

  GrpoMetrics one_step() {
    const double begin = monotonic_seconds();
    std::vector<Rollout> rollouts;
    std::vector<Rollout> learned;
    const std::int64_t most_draws = options_.dynamic_sampling ? 4 : 1;
    for (std::int64_t draw = 0; draw < most_draws; ++draw) {
      const std::int64_t missing =
          options_.questions - static_cast<std::int64_t>(learned.size()) / options_.answers;
      if (missing == 0) break;
      std::vector<Rollout> more = sample_groups(state_.sequences, missing);
      state_.sequences += missing;
      std::ranges::move(informative_of(more), std::back_inserter(learned));
      std::ranges::move(more, std::back_inserter(rollouts));
    }
    const double sampled = monotonic_seconds();
    GrpoMetrics metrics = means_of(rollouts);
    metrics.informative = static_cast<double>(learned.size()) / static_cast<double>(rollouts.size());
    metrics.learning_rate =
        options_.learning_rate *
        std::min(1.0, static_cast<double>(state_.step + 1) /
                          static_cast<double>(std::max<std::int64_t>(1, options_.warmup_steps)));
    metrics.mismatch = mismatch_of(rollouts.front());
    const double measured = monotonic_seconds();
    if (!learned.empty()) {
      const PolicyUpdate update = trainer_.learn(context_, learned, metrics.learning_rate, state_.step);
      metrics.loss = update.loss;
      metrics.kl = update.kl;
      metrics.clipped = update.clipped;
      metrics.ratio = update.ratio;
      metrics.gradient_norm = update.gradient_norm;
      state_.tokens += update.tokens;
    }
    metrics.step = ++state_.step;
    metrics.sampling_seconds = sampled - begin;
    metrics.learning_seconds = monotonic_seconds() - measured;
    metrics.other_seconds = measured - sampled;
    metrics.tokens_per_second = metrics.length * static_cast<double>(rollouts.size()) / (sampled - begin);
    return metrics;
  }

  [[nodiscard]] static GrpoMetrics means_of(const std::vector<Rollout>& rollouts) {
    GrpoMetrics sum;
    const double each = 1.0 / static_cast<double>(rollouts.size());
    for (const Rollout& rollout : rollouts) {
      sum.reward += each * rollout.total;
      sum.accuracy += each * rollout.reward.accuracy;
      sum.format += each * rollout.reward.format;
      sum.length += each * static_cast<double>(rollout.answer_tokens());
      sum.cut += rollout.is_cut ? each : 0.0;
    }
    return sum;
  }

  /// Of one answer: to read it as it was given, from caches, costs as much as to give it a batch.
  [[nodiscard]] double mismatch_of(const Rollout& rollout) const {
    const std::vector<std::vector<float>> trained = trainer_.logprobs(context_, transformer_, {&rollout, 1});
    const Score given = score_tokens(context_, transformer_, rollout.tokens, {}, options_.cache_type);
    double sum = 0;
    for (std::size_t t = 0; t < trained[0].size(); ++t)
      sum += std::abs(static_cast<double>(trained[0][t]) -
                      given.log_probabilities[rollout.prompt_tokens - 1 + t]);
    return sum / static_cast<double>(trained[0].size());
  }

  const GrpoOptions& options_;
  Context context_;
  std::unique_ptr<Task> task_;
  RunFolder folder_;
  std::optional<std::int64_t> resumed_;
  std::filesystem::path source_;  // of weights and tokenizer
  TextModel model_;
  Transformer transformer_;
  Optimizer optimizer_;
  std::unique_ptr<PromptFormat> format_;
  TransformerWeights reference_weights_;
  std::unique_ptr<Transformer> reference_;
  PolicyTrainer trainer_;
  TrainingConfig training_;  // how checkpoints are written
  TrainingState state_;      // `sequences`: questions drawn so far
  std::int64_t saved_step_ = 0;
  std::ofstream metrics_;
  std::optional<GrpoEvaluation> evaluation_;
};

}  // namespace

void validate_grpo_options(const GrpoOptions& options) {
  const auto at_least = [](const char* name, std::int64_t value, std::int64_t least) {
    if (value < least) throw UsageError(fmt::format("{} is {}; it must be at least {}", name, value, least));
  };
  at_least("steps", options.steps, 1);
  at_least("questions", options.questions, 1);
  at_least("answers", options.answers, 2);
  at_least("max-tokens", options.max_tokens, 1);
  at_least("updates", options.updates, 1);
  at_least("pass-tokens", options.pass_tokens, 1);
  if (!(options.temperature > 0))
    throw UsageError("temperature must be above 0: answers to a question have to differ");
  if (!(options.learning_rate > 0)) throw UsageError("learning-rate must be above 0");
  validate_policy_loss_options(options.loss);
}

GrpoResult run_grpo(const GrpoOptions& options, ThreadPool& pool,
                    const std::function<void(const GrpoMetrics&)>& on_step,
                    const std::function<void(const GrpoEvaluation&)>& on_evaluation) {
  validate_grpo_options(options);
  return GrpoRun(options, pool).run(on_step, on_evaluation);
}

}  // namespace fathom
