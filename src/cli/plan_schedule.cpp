// `fathom plan schedule`: pipeline schedules simulated, compared and drawn.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "cli/plan.h"
#include "plan/schedule_chart.h"
#include "plan/schedule_report.h"

namespace fathom::cli {
namespace {

struct PlanScheduleOptions {
  PipelineSizes sizes;
  std::string schedule;
  std::int32_t ranks = 0;
  std::string svg;
  std::string html;
  bool json = false;
};

/// The one that is asked for, which must exist, or all of them. What is wrong with the sizes is wrong with
/// the options.
std::vector<ComparedSchedule> schedules_of(const PlanScheduleOptions& options, const PipelineSizes& sizes) {
  try {
    if (options.schedule.empty()) {
      std::vector<ComparedSchedule> all = compare_schedules(sizes);
      const auto exists = [](const ComparedSchedule& one) { return one.step.has_value(); };
      require(std::ranges::any_of(all, exists), "{}", all.front().refusal);
      return all;
    }
    const PipelineKind kind = pipeline_kind_named(options.schedule).value();
    const PipelineCase pipeline = pipeline_case(kind, sizes);
    return {{.kind = kind, .step = simulate_schedule(pipeline.shape, pipeline.times), .refusal = {}}};
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

void plan_schedule(const PlanScheduleOptions& options) {
  PipelineSizes sizes = options.sizes;
  if (options.ranks > 0) {
    sizes.parallelism = options.ranks;
    sizes.on_ranks = true;
  }
  const std::vector<ComparedSchedule> schedules = schedules_of(options, sizes);
  if (!options.svg.empty()) write_file_atomically(options.svg, schedules_svg(schedules));
  if (!options.html.empty()) write_file_atomically(options.html, schedules_page(schedules));
  if (options.json) {
    fmt::print("{}\n", schedules_json(schedules).dump(2));
  } else {
    fmt::print("{}", schedules_text(schedules));
  }
}

}  // namespace

void add_plan_schedule(CLI::App& plan) {
  auto options = std::make_shared<PlanScheduleOptions>();
  CLI::App* command = plan.add_subcommand(
      "schedule", "Simulates pipeline schedules: makespan, bubble, activations; draws them");
  std::vector<std::string> names;
  names.reserve(kPipelineKinds.size());
  for (const PipelineKind kind : kPipelineKinds) names.emplace_back(pipeline_kind_name(kind));
  command->add_option("--schedule", options->schedule, "One of them (default: all, compared)")
      ->check(CLI::IsMember(names));
  CLI::Option* stages = command
                            ->add_option("--pp", options->sizes.parallelism,
                                         "Stages that the model is cut into; times are those of one stage")
                            ->capture_default_str();
  command
      ->add_option("--ranks", options->ranks,
                   "In place of --pp: ranks, the same for all schedules; times are those of a rank's part "
                   "of the model")
      ->check(CLI::Range(1, 4096))
      ->excludes(stages);
  command->add_option("--micro-batches", options->sizes.micro_batches, "Micro-batches of one step")
      ->capture_default_str();
  command->add_option("--chunks", options->sizes.chunks, "Stages on a rank, of interleaved schedules")
      ->capture_default_str();
  PipelineTimes& times = options->sizes.times;
  command->add_option("--forward", times.forward, "Time of a forward chunk, F")->capture_default_str();
  command->add_option("--backward", times.backward, "Of a whole backward chunk, B")->capture_default_str();
  command->add_option("--weight", times.weight, "Of B, what the weights' gradients take, W")
      ->capture_default_str();
  command->add_option("--overlapped", times.forward_backward, "Of a forward and a backward, overlapped, F&B")
      ->capture_default_str();
  command->add_option("--communication", times.communication, "Of a message between ranks")
      ->capture_default_str();
  command->add_option("--svg", options->svg, "Draw the schedules into this file");
  command->add_option("--html", options->html, "Write tables and drawing as one page into this file");
  command->add_flag("--json", options->json, "Print JSON");
  command->footer(
      "Examples:\n"
      "  fathom plan schedule --pp 8 --micro-batches 20\n"
      "  fathom plan schedule --schedule dualpipe --pp 8 --micro-batches 20 --svg dualpipe.svg\n");
  command->callback([options] { plan_schedule(*options); });
}

}  // namespace fathom::cli
