// `fathom compare`: training runs beside one another.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "train/comparison.h"
#include "train/run_facts.h"

namespace fathom::cli {
namespace {

struct CompareOptions {
  std::vector<std::string> runs;
  std::string svg;
  bool json = false;
};

/// "name=folder", or a folder that names itself.
RunRecord read_named_run(const std::string& argument) {
  const std::size_t equals = argument.find('=');
  if (equals != std::string::npos && equals > 0 && !std::filesystem::exists(argument)) {
    if (equals + 1 == argument.size())
      throw UsageError(fmt::format("compare: {}: name the run's folder after the =", printable(argument)));
    return read_run(argument.substr(equals + 1), printable(argument.substr(0, equals)));
  }
  return read_run(argument, printable(run_name(argument)));
}

void run_compare(const CompareOptions& options) {
  std::vector<RunRecord> runs;
  for (const std::string& argument : options.runs) runs.push_back(read_named_run(argument));
  if (!options.svg.empty())
    write_file_atomically(options.svg, line_charts_svg(comparison_charts(runs), "step"));
  if (options.json) {
    fmt::print("{}\n", comparison_json(runs).dump(-1, ' ', false, OrderedJson::error_handler_t::replace));
  } else {
    fmt::print("{}", comparison_table(runs));
  }
}

}  // namespace

void add_compare(CLI::App& app) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command =
      app.add_subcommand("compare", "Sets training runs beside one another: losses, balance, speed");
  command
      ->add_option("RUN", options->runs,
                   "Run folders, or NAME=FOLDER; the first is what the others are measured by")
      ->required();
  command->add_option("--svg", options->svg, "Draw the runs' curves into this file");
  command->add_flag("--json", options->json, "Print JSON");
  command->footer(
      "Example:\n"
      "  fathom compare BF16=runs/bf16 FP8=runs/fp8 --svg fp8.svg\n\n"
      "loss: mean of the last twentieth of the training steps; ± %: over the first run's.\n"
      "MaxVio: on held-out text, loads counted over all of it; batch: of training steps.\n"
      "drafts: part of the first MTP module's drafts that the main model takes.");
  command->callback([options] { run_compare(*options); });
}

}  // namespace fathom::cli
