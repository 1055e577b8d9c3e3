// `fathom sft`: fine-tune a model on chats.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/job.h"
#include "cli/run_forecast.h"
#include "cli/train_run.h"
#include "dist/collectives.h"
#include "infer/text_model.h"
#include "posttrain/chat_samples.h"
#include "train/sample_loader.h"
#include "train/trainer.h"

namespace fathom::cli {
namespace {

struct SftOptions {
  std::string model;
  std::vector<std::string> data;
  std::string output;
  std::string chat_template;
  std::string config;
  double held_out = 0.02;
  double epochs = 2;
  bool resume = false;
  std::vector<std::string> overrides;
  std::size_t threads = 0;
};

/// The data folder in the run's own, made where it is not there yet.
std::filesystem::path chat_data(const SftOptions& options, const std::filesystem::path& model) {
  std::filesystem::path folder = std::filesystem::path(options.output) / "data";
  if (is_data_folder(folder)) {
    require(options.resume,
            "{}: already holds a run's chats: add --resume to continue, or choose another --output",
            options.output);
    return folder;
  }
  if (options.data.empty()) throw UsageError("sft: give the chats to learn from with --data");
  ChatDataOptions chats;
  chats.files.assign(options.data.begin(), options.data.end());
  chats.tokenizer = model;
  chats.chat_template = options.chat_template;
  chats.output = folder;
  chats.held_out = options.held_out;
  ChatDataProgress done;
  const DataManifest manifest =
      prepare_chats(chats, [&](const ChatDataProgress& progress) { done = progress; });
  log_info(
      "{} chats, {} tokens of which {} are learned ({:.0f} %); {} held out, {} that stood before left out",
      done.chats, format_count(static_cast<std::uint64_t>(done.tokens)),
      format_count(static_cast<std::uint64_t>(done.learned)),
      100 * static_cast<double>(done.learned) / static_cast<double>(done.tokens), manifest.held_out.documents,
      manifest.sources.front().exact_duplicates);
  return folder;
}

/// A config of the model with what fine-tuning usually takes; files and options change it.
Json run_config(const SftOptions& options, const std::filesystem::path& model) {
  Json json = read_json_file(model / "config.json");
  const std::int64_t positions =
      model_config_from_json(json, (model / "config.json").string()).max_position_embeddings;
  // The balancing of pre-training is done: a small set of chats is not to move it.
  Json training = {{"sequence_length", std::min<std::int64_t>(positions, 2048)},
                   {"batch_size", 16},
                   {"micro_batch_size", 1},
                   {"learning_rate", 2e-5},
                   {"final_learning_rate_factor", 0.1},
                   {"weight_decay", 0.0},
                   {"router_bias_update_rate", 0.0},
                   {"eval_interval", 50},
                   {"checkpoint_interval", 200}};
  if (!options.config.empty()) {
    const Json file = read_json_file(options.config);
    require(file.is_object() && file.contains("training") && file.at("training").is_object(),
            "{}: it must be an object with a \"training\" section", options.config);
    training.update(file.at("training"));
  }
  json["training"] = std::move(training);
  for (const std::string& assignment : options.overrides) apply_override(json, assignment);
  return json;
}

/// Steps of so many epochs, and as many of them to warm up as is usual, where nobody said otherwise.
void set_steps(Json& json, const SftOptions& options, const std::filesystem::path& data, ThreadPool& pool) {
  Json& training = json["training"];
  if (!training.contains("steps")) {
    const std::int64_t length = training.at("sequence_length").get<std::int64_t>();
    const SampleSet samples(data, load_data_manifest(data), "train", pool);
    const SampleLoader loader(samples, length, 1);
    const double steps = options.epochs * static_cast<double>(loader.packs_per_epoch()) /
                         static_cast<double>(training.at("batch_size").get<std::int64_t>());
    training["steps"] = std::max<std::int64_t>(1, std::llround(std::ceil(steps)));
  }
  if (!training.contains("warmup_steps"))
    training["warmup_steps"] = training.at("steps").get<std::int64_t>() * 3 / 100;
}

void sft(const SftOptions& options, Communicator& ranks) {
  if (options.output.empty()) throw UsageError("sft: give the folder to make with --output");
  const std::filesystem::path model = find_model_folder(options.model);
  ThreadPool pool(options.threads > 0 ? options.threads : default_threads());
  // The first process makes the data; all read it.
  const std::filesystem::path data =
      broadcast_text(ranks, ranks.rank() == 0 ? chat_data(options, model).string() : std::string(), 0);
  Json json = run_config(options, model);
  // Checks the values before they are counted with.
  (void)training_config_from_json(json, "sft");
  set_steps(json, options, data, pool);

  TrainOptions train_options;
  train_options.model = model_config_from_json(json, (model / "config.json").string());
  train_options.training = training_config_from_json(json, "sft");
  train_options.data = data;
  train_options.output = options.output;
  train_options.init = model;
  train_options.resume = options.resume;
  const RunForecast forecast = forecast_run(train_options, machines_of(ranks), /*measure=*/false, pool);
  require_memory(forecast);
  const std::optional<TrainResult> result = train_until_interrupted(train_options, ranks, pool);
  if (!result) return;
  if (result->evaluation)
    log_info("loss of held-out answers {:.4f} nats a token (after step {})", result->evaluation->loss,
             result->evaluation->step);
  announce_end(train_options, *result);
}

}  // namespace

void add_sft(CLI::App& app) {
  auto options = std::make_shared<SftOptions>();
  CLI::App* command = app.add_subcommand("sft", "Fine-tune a model on chats: learn what the assistant says");
  command->add_option("model", options->model, "Model folder, or of a training run")->required();
  command
      ->add_option(
          "--data", options->data,
          "JSON lines of chats, also compressed: \"messages\", ShareGPT's \"conversations\", \"prompt\" "
          "and \"completion\", or \"instruction\" and \"output\"")
      ->option_text("FILE ...")
      ->allow_extra_args(false);
  command->add_option("--output,-o", options->output,
                      "Folder of the run: data, checkpoints, metrics, report");
  command->add_option(
      "--chat-template", options->chat_template,
      "File of Jinja that makes a chat a text, or `plain`: Question: and Answer: (default: the "
      "model's own)");
  command->add_option("--held-out", options->held_out, "Part of the chats that is not learned, but measured")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  command
      ->add_option("--epochs", options->epochs, "How often all chats are learned, where steps are not given")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--config", options->config,
                      "JSON file whose \"training\" section changes the defaults");
  command
      ->add_option(
          "--set", options->overrides,
          "Change a value: training.learning_rate=1e-5, training.batch_size=64; may be given several times")
      ->allow_extra_args(false);
  command->add_flag("--resume", options->resume, "Continue from the newest checkpoint");
  add_threads_option(*command, options->threads);
  command->footer(
      "The training section has the keys of `fathom train --help`; unless changed, 2 epochs at a learning "
      "rate of\n"
      "2e-5 that falls to a tenth, in batches of 16 packs of up to 2,048 tokens.");
  command->callback([options] { run_in_job([&](Communicator& ranks) { sft(*options, ranks); }); });
}

}  // namespace fathom::cli
