// `fathom train`: pretrain a model, or continue a run.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/job.h"
#include "cli/run_forecast.h"
#include "cli/train_run.h"
#include "dist/collectives.h"
#include "infer/text_model.h"
#include "train/checkpoint.h"
#include "train/context_extension.h"
#include "train/evaluation.h"
#include "train/run_folder.h"
#include "train/trainer.h"

namespace fathom::cli {
namespace {

constexpr std::string_view kSchedules = "1f1b, interleaved, zb1p, dualpipe or dualpipev";

struct Options {
  std::string config;
  std::string data;
  std::string output;
  std::string init;
  std::optional<double> extend_context;
  ParallelOptions parallel;
  std::string schedule = "zb1p";
  bool resume = false;
  std::optional<std::int64_t> steps;
  std::optional<std::int64_t> seed;
  std::optional<std::int64_t> stop_at;
  std::vector<std::string> overrides;
  std::size_t threads = 0;
  bool dry_run = false;
  bool json = false;
};

/// The data folder: the one given, or the one that the newest checkpoint was trained on.
std::string data_folder(const Options& options) {
  if (!options.data.empty()) return options.data;
  if (!options.resume) throw UsageError("train: give the folder that `fathom prepare` made with --data");
  std::optional<std::int64_t> newest;
  std::filesystem::path checkpoint;
  {
    const RunFolder run(options.output);
    newest = run.newest_checkpoint();
    if (newest) checkpoint = run.checkpoint(*newest);
  }
  require(newest.has_value(), "{}: no checkpoint to resume from there: give CONFIG and --data to begin a run",
          options.output);
  return load_training_state(checkpoint).data.string();
}

Json read_config(const Options& options) {
  if (options.config.empty() && !options.resume)
    throw UsageError("train: give the config of the model to train (or --resume to continue a run)");
  const std::string file = options.config.empty() ? options.output + "/config.json" : options.config;
  require(!options.config.empty() || std::filesystem::exists(file),
          "{}: no training run to resume there: give CONFIG and --data to begin one", options.output);
  Json json = read_json_file(file);
  require(json.is_object(), "{}: the config must be a JSON object", file);
  for (const std::string& assignment : options.overrides) apply_override(json, assignment);
  if (options.steps) apply_override(json, fmt::format("training.steps={}", *options.steps));
  if (options.seed) apply_override(json, fmt::format("training.seed={}", *options.seed));
  return json;
}

void train(const Options& options, Communicator& ranks) {
  if (options.output.empty() && !options.dry_run)
    throw UsageError("train: give the folder to make with --output");
  if (options.output.empty() && options.resume)
    throw UsageError("train: give the folder of the run to resume with --output");
  TrainOptions train_options;
  const Json json = read_config(options);
  const std::string where = options.config.empty() ? options.output + "/config.json" : options.config;
  train_options.model = model_config_from_json(json, where);
  if (options.extend_context)
    train_options.model = extend_context(train_options.model, *options.extend_context);
  train_options.training = training_config_from_json(json, where);
  train_options.output = options.output;
  // The first process looks, as it takes the run's lock for it.
  train_options.data = broadcast_text(ranks, ranks.rank() == 0 ? data_folder(options) : std::string(), 0);
  if (!options.init.empty()) train_options.init = find_model_folder(options.init);
  train_options.parallel = options.parallel;
  const std::optional<PipelineKind> schedule = pipeline_kind_named(options.schedule);
  if (!schedule) throw UsageError(fmt::format("train: --schedule {}: take {}", options.schedule, kSchedules));
  train_options.parallel.schedule = *schedule;
  if (*schedule == PipelineKind::interleaved && train_options.parallel.stages_per_rank == 1)
    train_options.parallel.stages_per_rank = 2;
  train_options.resume = options.resume;
  train_options.stop_at = options.stop_at;

  ThreadPool pool(options.threads > 0 ? options.threads : default_threads());
  const std::vector<ProcessMachine> machines = machines_of(ranks);
  if (options.dry_run) {
    if (ranks.rank() > 0) return;
    const RunForecast forecast = forecast_run(train_options, machines, /*measure=*/true, pool);
    fmt::print("{}", options.json ? forecast_json(forecast).dump(2) + "\n" : forecast_text(forecast));
    return;
  }
  const RunForecast forecast = forecast_run(train_options, machines, /*measure=*/false, pool);
  require_memory(forecast);
  train_options.on_start = [&] { log_info("{}", brief_text(forecast)); };
  const std::optional<TrainResult> result = train_until_interrupted(train_options, ranks, pool);
  if (!result) return;

  if (result->evaluation)
    log_info("held-out loss {:.4f} nats per token, {:.4f} bits per byte (after step {})",
             result->evaluation->loss, result->evaluation->bits_per_byte, result->evaluation->step);
  if (result->evaluation && !result->evaluation->source_loss.empty())
    log_info("held-out loss by source: {}", source_loss_text(result->evaluation->source_loss));
  announce_end(train_options, *result);
}

}  // namespace

void add_train(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Pretrain a model, or continue a run");
  command->add_option("config", options->config,
                      "Model config (as Hugging Face's config.json) with a \"training\" section");
  command->add_option("--data", options->data, "Folder made by `fathom prepare`");
  command->add_option("--output,-o", options->output, "Folder of the run: checkpoints, metrics, report");
  command->add_option("--init", options->init,
                      "Model folder, or of a training run, whose weights to begin with");
  command->add_option("--extend-context", options->extend_context,
                      "Make the model for FACTOR times as many positions by YaRN, with the released models' "
                      "settings; with --init");
  command->add_flag("--resume", options->resume,
                    "Continue from the newest checkpoint; config and --data default to the run's own");
  command->add_option("--steps", options->steps, "Same as --set training.steps=N")->check(at_least(1));
  command->add_option("--seed", options->seed, "Same as --set training.seed=N")->check(at_least(0));
  command
      ->add_option("--stop-at", options->stop_at,
                   "Write a checkpoint after this step and end; --resume goes on from there")
      ->check(at_least(0));
  command
      ->add_option("--set", options->overrides,
                   "Change a value of the config: training.learning_rate=2e-3, or hidden_size=256; may be "
                   "given several times")
      ->allow_extra_args(false);
  command
      ->add_option("--pipeline-parallel", options->parallel.pipeline,
                   "Share the layers out over so many of the processes that mpirun started")
      ->check(at_least(1));
  command->add_option("--schedule", options->schedule,
                      fmt::format("Of the pipeline: {}; `fathom plan schedule` draws them", kSchedules));
  command
      ->add_option("--stages-per-rank", options->parallel.stages_per_rank,
                   "Of the interleaved schedule: pieces of the model that each process has")
      ->check(at_least(1));
  command
      ->add_option("--expert-parallel", options->parallel.experts,
                   "Share the routed experts out over so many of the processes with the same layers")
      ->check(at_least(1));
  command
      ->add_option("--context-parallel", options->parallel.context,
                   "Share each sequence out over so many of the processes with the same layers")
      ->check(at_least(1));
  command->add_flag("!--no-overlap", options->parallel.overlap,
                    "Let messages of experts and gradients travel while nothing is computed, to see what "
                    "overlapping gains; the result is the same");
  add_threads_option(*command, options->threads);
  CLI::Option* dry_run = command->add_flag(
      "--dry-run", options->dry_run,
      "Print parameters, memory, arithmetic, time, disk and schedule of the run, and make nothing");
  command->add_flag("--json", options->json, "With --dry-run: print them as JSON")->needs(dry_run);
  command->footer("Keys of the training section, with their defaults:\n" + describe_training_keys());
  command->callback([options] { run_in_job([&](Communicator& ranks) { train(*options, ranks); }); });
}

}  // namespace fathom::cli
