#include "cli/run_forecast.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/progress.h"
#include "cli/process_memory.h"
#include "dist/collectives.h"
#include "model/weights.h"
#include "train/data_manifest.h"

namespace fathom::cli {
namespace {

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
          {"messages", memory.messages},
          {"checkpoint_gathered", memory.gathered},
          {"checkpoint_snapshot", memory.snapshot}};
}

/// Machines in the order of their first processes.
std::vector<RunForecast::Machine> machines_with(const std::vector<ProcessMachine>& places,
                                                const std::vector<TrainingMemory>& memory) {
  std::vector<RunForecast::Machine> machines;
  std::vector<std::uint64_t> nodes;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto found = std::ranges::find(nodes, places[i].node);
    const auto at = static_cast<std::size_t>(found - nodes.begin());
    if (found == nodes.end()) {
      nodes.push_back(places[i].node);
      machines.push_back({.first = static_cast<int>(i), .processes = 0, .memory = places[i].memory});
    }
    ++machines[at].processes;
    machines[at].peak += memory[i].peak();
  }
  return machines;
}

std::uint64_t largest_peak(const RunForecast& forecast) {
  return std::ranges::max(forecast.memory, {}, &TrainingMemory::peak).peak();
}

/// "process 0", "processes 4 to 7".
std::string processes_text(const RunForecast::Machine& machine) {
  if (machine.processes == 1) return fmt::format("process {}", machine.first);
  return fmt::format("{} processes from {} on", machine.processes, machine.first);
}

std::string memory_text(const RunForecast& f) {
  if (f.memory.size() == 1) {
    std::string text =
        fmt::format("Memory       about {} at the peak, {} available\n",
                    format_bytes(f.memory.front().peak()), format_bytes(f.machines.front().memory.available));
    for (const auto& [name, bytes] : parts_of(f.memory.front()))
      if (bytes > 0) text += fmt::format("  {:<22}{:>12}\n", name, format_bytes(bytes));
    return text;
  }
  std::string text;
  for (const RunForecast::Machine& machine : f.machines)
    text += fmt::format("{:<13}about {} at the peak for {}, {} available\n", text.empty() ? "Memory" : "",
                        format_bytes(machine.peak), processes_text(machine),
                        format_bytes(machine.memory.available));
  constexpr std::size_t kMostShown = 8;
  const std::size_t shown = std::min(f.memory.size(), kMostShown);
  text += fmt::format("  {:<22}", "process");
  for (std::size_t i = 0; i < shown; ++i) text += fmt::format("{:>12}", i);
  text += shown < f.memory.size() ? "   ...\n" : "\n";
  const std::size_t parts = parts_of(f.memory.front()).size();
  for (std::size_t part = 0; part < parts; ++part) {
    const auto bytes = [&](std::size_t process) { return parts_of(f.memory[process])[part].second; };
    std::string row = fmt::format("  {:<22}", parts_of(f.memory.front())[part].first);
    bool has_any = false;
    for (std::size_t i = 0; i < shown; ++i) {
      row += fmt::format("{:>12}", format_bytes(bytes(i)));
      has_any = has_any || bytes(i) > 0;
    }
    if (has_any) text += row + "\n";
  }
  text += fmt::format("  {:<22}", "in all");
  for (std::size_t i = 0; i < shown; ++i) text += fmt::format("{:>12}", format_bytes(f.memory[i].peak()));
  return text + "\n";
}

}  // namespace

std::vector<ProcessMachine> machines_of(Communicator& ranks) {
  return all_gather_values(ranks, ProcessMachine{ranks.node(), machine_memory()});
}

RunForecast forecast_run(const TrainOptions& options, const std::vector<ProcessMachine>& machines,
                         bool measure, ThreadPool& pool) {
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
  const std::int64_t batch_size = plan.at(training.steps - 1).batch_size;
  forecast.memory =
      machines.size() == 1
          ? std::vector{training_memory(config, sizes)}
          : process_memory(config, training.optimizer, sizes,
                           make_layout(static_cast<int>(machines.size()), options.parallel, config),
                           batch_size);
  forecast.machines = machines_with(machines, forecast.memory);
  forecast.flops_per_token = training_flops_per_token(config, training.sequence_length);
  forecast.tokens_per_step = batch_size * training.sequence_length;
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
  const std::uint64_t available = machines.front().memory.available;
  const bool fits = available == 0 || training_memory(config, one).peak() < available;
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
  for (const RunForecast::Machine& machine : forecast.machines) {
    if (machine.memory.all == 0 || machine.peak <= machine.memory.all) continue;
    if (forecast.memory.size() == 1)
      fail(
          "the run needs about {} of memory, this machine has {}: lower training.micro_batch_size, "
          "training.sequence_length or the model's sizes; --dry-run shows what takes how much",
          format_bytes(machine.peak), format_bytes(machine.memory.all));
    fail(
        "{} need about {} of memory together, their machine has {}: spread them over more machines, share "
        "the model out further (--pipeline-parallel, --expert-parallel), or lower training.micro_batch_size "
        "or the model's sizes; --dry-run shows what takes how much",
        processes_text(machine), format_bytes(machine.peak), format_bytes(machine.memory.all));
  }
}

std::string brief_text(const RunForecast& forecast) {
  const bool is_one = forecast.memory.size() == 1;
  return fmt::format("{} parameters, about {} of memory{}, {} a token, {:.3g} epochs, checkpoints of {}",
                     format_count(static_cast<std::uint64_t>(forecast.parameters.total())),
                     format_bytes(largest_peak(forecast)), is_one ? "" : " for the largest process",
                     format_flops(forecast.flops_per_token.total()), forecast.epochs(),
                     format_bytes(forecast.checkpoint_bytes));
}

std::string forecast_text(const RunForecast& f) {
  const auto count = [](std::int64_t value) { return format_count(static_cast<std::uint64_t>(value)); };
  std::string text = fmt::format("Parameters   {}, {} activated per token", count(f.parameters.main),
                                 count(f.parameters.activated));
  if (f.parameters.mtp > 0) text += fmt::format("; {} in MTP modules", count(f.parameters.mtp));
  text += "\n" + memory_text(f);
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
  const auto parts_json = [](const TrainingMemory& memory) {
    OrderedJson parts;
    for (const auto& [name, bytes] : parts_of(memory)) parts[name] = bytes;
    parts["peak"] = memory.peak();
    return parts;
  };
  json["memory"] = parts_json(f.memory.front());
  json["memory"]["available"] = f.machines.front().memory.available;
  if (f.memory.size() > 1) {
    json["processes"] = OrderedJson::array();
    for (const TrainingMemory& process : f.memory) json["processes"].push_back(parts_json(process));
    json["machines"] = OrderedJson::array();
    for (const RunForecast::Machine& machine : f.machines)
      json["machines"].push_back({{"first_process", machine.first},
                                  {"processes", machine.processes},
                                  {"peak", machine.peak},
                                  {"available", machine.memory.available}});
  }
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
