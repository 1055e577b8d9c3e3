// `fathom plan search`: the fastest layouts of a training that fit in memory.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/plan.h"
#include "cli/plan_training.h"
#include "plan/training_report.h"

namespace fathom::cli {
namespace {

struct PlanSearchOptions {
  PlanTrainingOptions training;
  std::size_t keep = 10;
};

void plan_search(const PlanSearchOptions& options) {
  const TrainingEstimator estimator(training_task(options.training), training_hardware(options.training));
  const LayoutSearch search =
      search_layouts(estimator, options.training.devices, options.keep, options.training.least_tokens);
  require(!search.best.empty(), "none of {} layouts on {} devices fits in memory: take more devices",
          search.layouts, options.training.devices);
  if (options.training.json) {
    fmt::print("{}\n", search_json(estimator, search).dump(2));
  } else {
    fmt::print("{}", search_text(estimator, search));
  }
}

}  // namespace

void add_plan_search(CLI::App& plan) {
  auto options = std::make_shared<PlanSearchOptions>();
  CLI::App* command =
      plan.add_subcommand("search", "Finds the fastest layouts of a training that fit in memory");
  add_plan_training_options(*command, options->training);
  constexpr std::size_t kMost = 10'000;
  command->add_option("--keep", options->keep, "How many to show")
      ->check(CLI::Range(std::size_t{1}, kMost))
      ->capture_default_str();
  command->callback([options] { plan_search(*options); });
}

}  // namespace fathom::cli
