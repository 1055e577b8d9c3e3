// `fathom inspect`: what a checkpoint or a config holds.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "infer/text_model.h"
#include "plan/checkpoint_report.h"

namespace fathom::cli {
namespace {

struct InspectOptions {
  std::string path;
  bool json = false;
};

void inspect(const InspectOptions& options) {
  const CheckpointReport report = inspect_checkpoint(follow_run(options.path));
  // Paths need not be UTF-8, JSON must.
  const auto replace = nlohmann::json::error_handler_t::replace;
  fmt::print("{}", options.json ? report_to_json(report).dump(2, ' ', false, replace) + "\n"
                                : report_to_text(report));
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      app.add_subcommand("inspect", "Show a checkpoint's tensors, config, parameter counts and memory");
  command
      ->add_option("path", options->path,
                   "A safetensors file, a model folder, the folder of a training run, or a config.json")
      ->required();
  command->add_flag("--json", options->json, "Print everything as JSON");
  command->callback([options] { inspect(*options); });
}

}  // namespace fathom::cli
