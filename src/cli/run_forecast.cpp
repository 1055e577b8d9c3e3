#include "cli/run_forecast.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/progress.h"
#include "model/weights.h"
#include "train/data_manifest.h"

namespace fathom::cli {
namespace {

/// Of the machine, in bytes; 0 where it does not say.
struct MachineMemory {
  std::uint64_t available = 0;  // what it could give now without swapping
  std::uint64_t all = 0;        // swap included
};

MachineMemory machine_memory() {
  std::ifstream file("/proc/meminfo");
  MachineMemory memory;
  std::string name;
  std::uint64_t kib = 0;
  for (std::string unit; file >> name >> kib; std::getline(file, unit)) {
    if (name == "MemAvailable:") memory.available = kib * 1024;
    if (name == "MemTotal:" || name == "SwapTotal:") memory.all += kib * 1024;
  }
  return memory;
}

/// Of the disk where a folder is, or will be.
std::uint64_t free_space(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::path there = std::filesystem::absolute(folder, error);
  while (there.has_relative_path() && !std::filesystem::exists(there, error)) there = there.parent_path();
  const std::filesystem::space_info space = std::filesystem::space(there, error);
  return error ? 0 : space.available;
}

/// How often something is done that is done each `interval` steps (0: never) and at the end.
std::int64_t times(std::int64_t steps, std::int64_t interval) {
  return interval > 0 ? (steps + interval - 1) / interval : 1;
}

std::vector<RunForecast::Point> schedule_points(const TrainingPlan& plan) {
  const std::int64_t steps = plan.batches().steps();
  std::vector<std::int64_t> at = {0};
  for (const std::int64_t percent : {1, 10, 25, 50, 75, 90}) at.push_back(steps * percent / 100);
  at.push_back(steps - 1);
  std::sort(at.begin(), at.end());
  at.erase(std::unique(at.begin(), at.end()), at.end());
  std::vector<RunForecast::Point> points;
  points.reserve(at.size());
  for (const std::int64_t step : at) points.push_back({step, plan.at(step)});
  return points;
}

std::uint64_t as_count(double value) {
  return static_cast<std::uint64_t>(std::max(value, 0.0));
}

/// "1.23 GFLOP".
std::string format_flops(double flops) {
  constexpr std::array kUnits = {"", "k", "M", "G", "T", "P", "E"};
  std::size_t unit = 0;
  for (; flops >= 1000 && unit + 1 < kUnits.size(); ++unit) flops /= 1000;
  return fmt::format("{:.3g} {}FLOP", flops, kUnits[unit]);
}

std::vector<std::pair<const char*, std::uint64_t>> parts_of(const TrainingMemory& memory) {
  return {{"weights", memory.weights},
          {"gradients", memory.gradients},
          {"moments", memory.moments},
          {"averaged_weights", memory.average},
          {"activations", memory.activations},
          {"work_space", memory.work_space},
          {"checkpoint_snapshot", memory.snapshot}};
}

}  // namespace

RunForecast forecast_run(const TrainOptions& options, bool measure, ThreadPool& pool) {
  const TrainingConfig& training = options.training;
  const DataManifest manifest = load_data_manifest(options.data);
  const ModelConfig config = config_for_run(options, manifest);
  const TrainingPlan plan(training, "config");
  const std::int64_t sequences = plan.batches().sequences();

  RunForecast forecast;
  forecast.parameters = trained_parameters(config);
  const bool saves_beside = training.checkpoint_interval > 0 && training.checkpoint_interval < training.steps;
  const TrainingSizes sizes{.sequence_length = training.sequence_length,
                            .micro_batch = training.micro_batch(),
                            .precision = training.precision,
                            .saves_beside = saves_beside,
                            .has_average = training.ema_decay > 0,
                            .has_muon = training.optimizer == OptimizerKind::muon};
  forecast.memory = training_memory(config, sizes);
  const MachineMemory machine = machine_memory();
  forecast.memory_available = machine.available;
  forecast.memory_of_machine = machine.all;
  forecast.flops_per_token = training_flops_per_token(config, training.sequence_length);
  forecast.tokens_per_step = plan.at(training.steps - 1).batch_size * training.sequence_length;
  forecast.tokens = sequences * training.sequence_length;
  forecast.data_tokens = manifest.train.tokens;

  const auto weight_bytes = static_cast<std::int64_t>(dtype_size(training.stored_dtype()));
  forecast.checkpoint_bytes = checkpoint_bytes(config, weight_bytes, sizes);
  const std::int64_t written = times(training.steps, training.checkpoint_interval);
  forecast.checkpoints =
      training.keep_checkpoints > 0 ? std::min(training.keep_checkpoints + 1, written) : written;
  forecast.disk_free = free_space(options.output.empty() ? "." : options.output);
  forecast.schedule = schedule_points(plan);

  TrainingSizes one = sizes;
  one.micro_batch = 1;
  one.has_average = one.saves_beside = false;
  const bool fits =
      forecast.memory_available == 0 || training_memory(config, one).peak() < forecast.memory_available;
  if (!measure || !fits) return forecast;
  RunForecast::Time time;
  time.timing =
      time_training_step(config, training.optimizer, sizes.precision, training.sequence_length, pool);
  time.training = static_cast<double>(sequences) * time.timing.sequence +
                  static_cast<double>(training.steps) * time.timing.update;
  // A forward pass is a third of forward and backward.
  const std::int64_t held_out = training.eval_tokens > 0
                                    ? std::min(training.eval_tokens, manifest.held_out.tokens)
                                    : manifest.held_out.tokens;
  time.evaluation = static_cast<double>(times(training.steps, training.eval_interval)) *
                    static_cast<double>(held_out) / static_cast<double>(training.sequence_length) *
                    time.timing.sequence / 3;
  forecast.time = time;
  return forecast;
}

void require_memory(const RunForecast& forecast) {
  require(forecast.memory_of_machine == 0 || forecast.memory.peak() <= forecast.memory_of_machine,
          "the run needs about {} of memory, this machine has {}: lower training.micro_batch_size, "
          "training.sequence_length or the model's sizes; --dry-run shows what takes how much",
          format_bytes(forecast.memory.peak()), format_bytes(forecast.memory_of_machine));
}

std::string brief_text(const RunForecast& forecast) {
  return fmt::format("{} parameters, about {} of memory, {} a token, {:.3g} epochs, checkpoints of {}",
                     format_count(static_cast<std::uint64_t>(forecast.parameters.total())),
                     format_bytes(forecast.memory.peak()), format_flops(forecast.flops_per_token.total()),
                     forecast.epochs(), format_bytes(forecast.checkpoint_bytes));
}

std::string forecast_text(const RunForecast& f) {
  const auto count = [](std::int64_t value) { return format_count(static_cast<std::uint64_t>(value)); };
  std::string text = fmt::format("Parameters   {}, {} activated per token", count(f.parameters.main),
                                 count(f.parameters.activated));
  if (f.parameters.mtp > 0) text += fmt::format("; {} in MTP modules", count(f.parameters.mtp));
  text += fmt::format("\nMemory       about {} at the peak, {} available\n", format_bytes(f.memory.peak()),
                      format_bytes(f.memory_available));
  for (const auto& [name, bytes] : parts_of(f.memory))
    text += fmt::format("  {:<22}{:>12}\n", name, format_bytes(bytes));
  text += fmt::format("Arithmetic   {} a token ({} of it for MTP), {} a step\n",
                      format_flops(f.flops_per_token.total()), format_flops(f.flops_per_token.mtp),
                      format_flops(f.flops_per_token.total() * static_cast<double>(f.tokens_per_step)));
  text += fmt::format("Data         {} tokens in the run, {} in the data: {:.3g} epochs\n", count(f.tokens),
                      count(f.data_tokens), f.epochs());
  if (f.time) {
    const double seconds = f.time->training + f.time->evaluation;
    text += fmt::format("Time         about {}, {} of it evaluation; {} tokens a second\n",
                        format_duration(seconds), format_duration(f.time->evaluation),
                        format_count(as_count(static_cast<double>(f.tokens) / f.time->training)));
    text += fmt::format(
        "             (one sequence forward and backward took {:.1f} ms just now, an update {:.1f})\n",
        f.time->timing.sequence * 1e3, f.time->timing.update * 1e3);
  } else {
    text += "Time         not measured: the model does not fit into the memory that is available\n";
  }
  text +=
      fmt::format("Disk         {} for {} checkpoint{} of {}, {} free\n",
                  format_bytes(f.checkpoint_bytes * static_cast<std::uint64_t>(f.checkpoints)), f.checkpoints,
                  f.checkpoints == 1 ? "" : "s", format_bytes(f.checkpoint_bytes), format_bytes(f.disk_free));
  text += fmt::format("Schedule     {:>10}{:>12}{:>16}{:>10}{:>10}\n", "step", "sequences", "learning rate",
                      "lambda", "gamma");
  for (const RunForecast::Point& point : f.schedule)
    text += fmt::format("             {:>10}{:>12}{:>16.4g}{:>10.3g}{:>10.3g}\n", count(point.step + 1),
                        point.plan.batch_size, point.plan.learning_rate, point.plan.mtp_loss_factor,
                        point.plan.router_bias_update_rate);
  return text;
}

OrderedJson forecast_json(const RunForecast& f) {
  OrderedJson json;
  json["parameters"] = {{"main", f.parameters.main},
                        {"activated", f.parameters.activated},
                        {"mtp", f.parameters.mtp},
                        {"total", f.parameters.total()}};
  OrderedJson& memory = json["memory"];
  for (const auto& [name, bytes] : parts_of(f.memory)) memory[name] = bytes;
  memory["peak"] = f.memory.peak();
  memory["available"] = f.memory_available;
  json["flops"] = {{"per_token", f.flops_per_token.total()},
                   {"per_token_mtp", f.flops_per_token.mtp},
                   {"per_step", f.flops_per_token.total() * static_cast<double>(f.tokens_per_step)}};
  json["data"] = {{"run_tokens", f.tokens}, {"train_tokens", f.data_tokens}, {"epochs", f.epochs()}};
  json["time"] = nullptr;
  if (f.time)
    json["time"] = {{"seconds", f.time->training + f.time->evaluation},
                    {"training_seconds", f.time->training},
                    {"evaluation_seconds", f.time->evaluation},
                    {"measured_sequence_seconds", f.time->timing.sequence},
                    {"measured_update_seconds", f.time->timing.update}};
  json["disk"] = {{"checkpoint_bytes", f.checkpoint_bytes},
                  {"checkpoints", f.checkpoints},
                  {"needed", f.checkpoint_bytes * static_cast<std::uint64_t>(f.checkpoints)},
                  {"free", f.disk_free}};
  json["schedule"] = OrderedJson::array();
  for (const RunForecast::Point& point : f.schedule)
    json["schedule"].push_back({{"step", point.step + 1},
                                {"batch_size", point.plan.batch_size},
                                {"learning_rate", point.plan.learning_rate},
                                {"mtp_loss_factor", point.plan.mtp_loss_factor},
                                {"router_bias_update_rate", point.plan.router_bias_update_rate}});
  return json;
}

}  // namespace fathom::cli
