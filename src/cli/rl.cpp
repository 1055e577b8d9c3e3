// `fathom rl`: reinforcement learning with rewards that a program gives.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "infer/text_model.h"
#include "posttrain/grpo_run.h"

namespace fathom::cli {
namespace {

struct RlOptions {
  std::string model;
  GrpoOptions grpo;
  std::string output;
  std::size_t threads = 0;
};

void rl(RlOptions options) {
  if (options.output.empty()) throw UsageError("rl: give the folder to make with --output");
  if (options.grpo.task.empty())
    throw UsageError("rl: name what to learn with --task (`fathom task --list`)");
  options.grpo.model = find_model_folder(options.model);
  options.grpo.output = options.output;
  const InterruptFlag interrupted;
  options.grpo.stop = &interrupted.raised();
  ThreadPool pool(options.threads);
  const double begin = monotonic_seconds();
  std::int64_t first = -1;
  const GrpoResult result = run_grpo(
      options.grpo, pool,
      [&](const GrpoMetrics& m) {
        if (first < 0) first = m.step - 1;
        const double each = (monotonic_seconds() - begin) / static_cast<double>(m.step - first);
        log_info(
            "step {}/{}  reward {:.3f}  right {:.1f} %  form {:.1f} %  length {:.0f}  groups {:.0f} %  kl "
            "{:.4f}  "
            "|g| {:.2f}  {:.0f} tokens/s  ETA {}",
            m.step, options.grpo.steps, m.reward, 100 * m.accuracy, 100 * m.format, m.length,
            100 * m.informative, m.kl, m.gradient_norm, m.tokens_per_second,
            format_duration(each * static_cast<double>(options.grpo.steps - m.step)));
      },
      [&](const GrpoEvaluation& e) {
        log_info("test problems after step {}: {:.1f} % right, {:.0f} tokens an answer", e.step,
                 100 * e.accuracy, e.length);
      });
  log_info("model: {}", result.checkpoint.string());
  if (!result.complete)
    log_info("stopped after step {} of {}: continue with the same command and --resume", result.step,
             options.grpo.steps);
}

template <class Enum>
void add_choice(CLI::App& command, const std::string& name, Enum& value, std::map<std::string, Enum> names,
                const std::string& help) {
  command.add_option(name, value, help)
      ->transform(CLI::CheckedTransformer(std::move(names)))
      ->option_text("NAME");
}

void add_loss_options(CLI::App& command, GrpoOptions& grpo) {
  PolicyLossOptions& loss = grpo.loss;
  add_choice(command, "--advantage", grpo.advantage,
             {{"normalised", AdvantageKind::normalised}, {"centred", AdvantageKind::centred}},
             "normalised by the group's deviation (GRPO), or only centred (Dr. GRPO)");
  add_choice(command, "--ratio", loss.ratio,
             {{"token", PolicyRatio::token}, {"sequence", PolicyRatio::sequence}},
             "Of token (GRPO) or of sequence (GSPO)");
  add_choice(command, "--weights", loss.weights,
             {{"sequence-mean", TokenWeights::sequence_mean},
              {"token-mean", TokenWeights::token_mean},
              {"constant-length", TokenWeights::constant_length}},
             "What a token counts: sequence-mean (GRPO), token-mean (DAPO), constant-length (Dr. GRPO)");
  command.add_option("--constant-length", loss.constant_length, "Tokens, with --weights constant-length");
  command.add_option("--clip-low", loss.clip_low, "Ratios below 1 less this gain nothing more")
      ->capture_default_str();
  command.add_option("--clip-high", loss.clip_high, "Above 1 and this; DAPO takes 0.28")
      ->capture_default_str();
  command
      .add_option("--kl", loss.kl_factor, "Factor of the divergence from the model that the run began with")
      ->capture_default_str();
  add_choice(command, "--kl-estimator", loss.kl,
             {{"k1", KlEstimator::k1}, {"k2", KlEstimator::k2}, {"k3", KlEstimator::k3}},
             "k1, k2 or k3 (GRPO's)");
  command.add_flag("--dynamic-sampling", grpo.dynamic_sampling,
                   "Draw other questions for those whose answers all get the same reward (DAPO)");
  command
      .add_option("--format-reward", grpo.reward.format,
                  "What the form of an answer counts beside 1 for being right")
      ->capture_default_str();
  command
      .add_option("--language-reward", grpo.reward.language, "What the prompt's script in an answer counts")
      ->capture_default_str();
  command
      .add_option("--length-reward", grpo.reward.length, "What the task's punishment of long answers counts")
      ->capture_default_str();
}

}  // namespace

void add_rl(CLI::App& app) {
  auto options = std::make_shared<RlOptions>();
  GrpoOptions& grpo = options->grpo;
  CLI::App* command =
      app.add_subcommand("rl", "Reinforcement learning with verifiable rewards: GRPO and its corrections");
  command->add_option("model", options->model, "Model folder, or of a training run")->required();
  command->add_option("--task", grpo.task,
                      "What to learn: countdown, words:max-steps=3, ... (`fathom task --list`)");
  command->add_option("--output,-o", options->output, "Folder of the run: checkpoints, metrics");
  command->add_option("--chat-template", grpo.chat_template,
                      "File of Jinja, or `plain` (default: the model's own)");
  const std::array<std::pair<const char*, std::pair<std::int64_t*, const char*>>, 8> numbers = {
      {{"--steps", {&grpo.steps, "Steps of the run"}},
       {"--questions", {&grpo.questions, "Questions of a step"}},
       {"--answers", {&grpo.answers, "Answers to each: the group"}},
       {"--max-tokens", {&grpo.max_tokens, "Tokens of an answer"}},
       {"--updates",
        {&grpo.updates, "Parts of a step's answers that the weights are moved by, one after another"}},
       {"--warmup-steps", {&grpo.warmup_steps, "Steps to the full learning rate"}},
       {"--eval-count", {&grpo.eval_count, "Test problems of a measurement"}},
       {"--pass-tokens", {&grpo.pass_tokens, "Tokens of a forward pass"}}}};
  for (const auto& [name, number] : numbers)
    command->add_option(name, *number.first, number.second)->check(at_least(1))->capture_default_str();
  command
      ->add_option("--eval-interval", grpo.eval_interval,
                   "Steps between measurements on test problems; 0: none")
      ->check(at_least(0))
      ->capture_default_str();
  command
      ->add_option("--checkpoint-interval", grpo.checkpoint_interval,
                   "Steps between checkpoints; 0: at the end")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--learning-rate", grpo.learning_rate, "Of AdamW")->capture_default_str();
  command->add_option("--temperature", grpo.temperature, "Of the answers that are learned from")
      ->capture_default_str();
  command->add_option("--seed", grpo.seed, "Of questions and answers")->capture_default_str();
  command->add_option("--batch", grpo.at_once, "Answers under way at once")
      ->check(at_least(1))
      ->capture_default_str();
  add_loss_options(*command, grpo);
  command->add_flag("--resume", grpo.resume, "Continue from the newest checkpoint");
  add_threads_option(*command, options->threads);
  command->footer(
      "Example:\n"
      "  fathom sft MODEL --data words.jsonl --output sft --chat-template plain\n"
      "  fathom rl sft --task words --output rl --learning-rate 1e-5 --kl 0.001");
  command->callback([options] { rl(*options); });
}

}  // namespace fathom::cli
