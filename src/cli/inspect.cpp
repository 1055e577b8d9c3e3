// `fathom inspect`: what a checkpoint, a config or prepared data holds.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "infer/text_model.h"
#include "plan/checkpoint_report.h"
#include "train/data_report.h"
#include "train/token_dataset.h"

namespace fathom::cli {
namespace {

struct InspectOptions {
  std::string path;
  bool json = false;
  bool check = false;
};

/// A folder that `fathom prepare` made.
void inspect_data(const InspectOptions& options) {
  const DataManifest manifest = load_data_manifest(options.path);
  if (options.check) {
    ThreadPool pool;
    for (const char* split : {"train", "held_out"}) (void)open_sources(options.path, manifest, split, pool);
  }
  if (options.json) {
    fmt::print("{}\n", data_to_json(manifest).dump(2));
  } else {
    fmt::print("{}: tokens of a vocabulary of {}{}\n{}", options.path, manifest.vocab_size,
               options.check ? ", every shard is whole" : "", data_to_text(manifest));
  }
}

void inspect(const InspectOptions& options) {
  if (is_data_folder(options.path)) {
    inspect_data(options);
    return;
  }
  const CheckpointReport report = inspect_checkpoint(follow_run(options.path));
  // Paths need not be UTF-8, JSON must.
  const auto replace = nlohmann::json::error_handler_t::replace;
  fmt::print("{}", options.json ? report_to_json(report).dump(2, ' ', false, replace) + "\n"
                                : report_to_text(report));
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand(
      "inspect",
      "Show a checkpoint's tensors, config, parameter counts and memory, or what prepared data holds");
  command
      ->add_option("path", options->path,
                   "A safetensors or .gguf file, a model folder, the folder of a training run, a "
                   "config.json, or a folder "
                   "that `fathom prepare` made")
      ->required();
  command->add_flag("--json", options->json, "Print everything as JSON");
  command->add_flag("--check", options->check, "Of prepared data: read every shard and verify its checksum");
  command->callback([options] { inspect(*options); });
}

}  // namespace fathom::cli
