// `fathom plan cost`: memory, time, hours and price of training a model in one layout.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "cli/plan.h"
#include "cli/plan_training.h"
#include "plan/training_report.h"

namespace fathom::cli {
namespace {

struct PlanCostOptions {
  PlanTrainingOptions training;
  std::string layout;
  std::string html;
  double calibrate_hours = 0;
};

/// The one that is asked for, or the fastest that fits.
TrainingLayout chosen_layout(const PlanCostOptions& options, const TrainingEstimator& estimator) {
  if (!options.layout.empty()) return parse_layout(options.layout, options.training.devices);
  const LayoutSearch search =
      search_layouts(estimator, options.training.devices, 1, options.training.least_tokens);
  require(!search.best.empty(),
          "none of {} layouts on {} devices fits in memory: take more devices, or name a --layout to see why",
          search.layouts, options.training.devices);
  return search.best.front().layout;
}

void plan_cost(const PlanCostOptions& options) {
  TrainingEstimator estimator(training_task(options.training), training_hardware(options.training));
  const TrainingLayout layout = chosen_layout(options, estimator);
  if (options.calibrate_hours > 0) {
    const std::optional<double> efficiency =
        calibrated_gemm_efficiency(estimator, layout, options.calibrate_hours);
    require(efficiency.has_value(), "no efficiency of linear maps gives {} hours per trillion tokens",
            options.calibrate_hours);
    estimator.set_gemm_efficiency(*efficiency);
  }
  const ReportedTraining training = {estimator, estimator.estimate(layout),
                                     printable(options.training.config)};
  if (!options.html.empty()) write_file_atomically(options.html, training_page(training));
  if (options.training.json) {
    fmt::print("{}\n", training_json(training).dump(2));
  } else {
    fmt::print("{}", training_text(training));
  }
}

}  // namespace

void add_plan_cost(CLI::App& plan) {
  auto options = std::make_shared<PlanCostOptions>();
  CLI::App* command = plan.add_subcommand(
      "cost", "Says what training costs: memory, step time, bubble, MFU, device hours, price");
  add_plan_training_options(*command, options->training);
  command->add_option("--layout", options->layout,
                      "As pp=16,tp=1,cp=1,ep=64,dp=128,schedule=dualpipe,micro-batch=1,recompute=selective; "
                      "default: the fastest that fits");
  command
      ->add_option("--calibrate-hours", options->calibrate_hours,
                   "Find the efficiency of linear maps that gives so many device hours per trillion tokens")
      ->check(CLI::PositiveNumber);
  command->add_option("--html", options->html, "Write the report as one page into this file");
  command->footer(
      "Examples:\n"
      "  fathom plan cost --config deepseek-v3 --hardware h800 --gpus 2048 --layout pp=16,ep=64\n"
      "  fathom plan cost --config moonlight-16b-a3b --hardware a100 --gpus 64 --batch 2048 --tokens "
      "5.7e12\n");
  command->callback([options] { plan_cost(*options); });
}

}  // namespace fathom::cli
