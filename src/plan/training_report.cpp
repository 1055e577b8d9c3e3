#include "plan/training_report.h"

#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "plan/html_page.h"
#include "plan/schedule_chart.h"
#include "plan/text_table.h"

namespace fathom {
namespace {

constexpr double kGiga = 1e9;
constexpr double kMilli = 1e-3;
constexpr double kMicro = 1e-6;

std::string grouped(double value) {
  return format_count(static_cast<std::uint64_t>(std::llround(value)));
}

std::string gigabytes(double bytes) {
  return fmt::format("{:.2f} GB", bytes / kGiga);
}

std::string short_seconds(double seconds) {
  return seconds < 1 ? fmt::format("{:.2f} ms", seconds / kMilli) : fmt::format("{:.3f} s", seconds);
}

/// "180.2 K", "2.664 M".
std::string short_count(double value) {
  constexpr double kThousand = 1e3;
  constexpr double kMillion = 1e6;
  if (value >= kMillion) return fmt::format("{:.3f} M", value / kMillion);
  return value >= kThousand ? fmt::format("{:.1f} K", value / kThousand) : fmt::format("{:.4g}", value);
}

double micro_batch_tokens(const ReportedTraining& training) {
  const TrainingLayout& layout = training.estimate.layout;
  return static_cast<double>(layout.micro_batch) *
         static_cast<double>(training.estimator.task().sequence_length) /
         (static_cast<double>(layout.tp) * layout.cp);
}

TitledRows model_section(const ReportedTraining& training) {
  const TrainingTask& task = training.estimator.task();
  const TrainedParameters parameters = trained_parameters(task.model);
  const TrainingFlops flops = training_flops_per_token(task.model, task.sequence_length);
  const double cache = 2.0 * static_cast<double>(task.model.latent_dim() * task.model.num_hidden_layers);
  TitledRows section = {"Model",
                        {{"parameters", grouped(static_cast<double>(parameters.main))},
                         {"active on a token", grouped(static_cast<double>(parameters.activated))},
                         {"work on a token", fmt::format("{:.2f} GFLOP", flops.main / kGiga)},
                         {"cache of a token, BF16", fmt::format("{:.3f} KB", cache / 1000)}}};
  if (parameters.mtp > 0) {
    section.rows.insert(section.rows.begin() + 2,
                        {"MTP modules beside them", grouped(static_cast<double>(parameters.mtp))});
    section.rows.insert(section.rows.begin() + 4,
                        {"MTP modules' work beside it", fmt::format("{:.2f} GFLOP", flops.mtp / kGiga)});
  }
  return section;
}

TitledRows memory_section(const TrainingEstimate& estimate) {
  const RankMemory& memory = estimate.memory;
  return {"Memory of the fullest device",
          {{"weights", gigabytes(memory.weights)},
           {"gradients", gigabytes(memory.gradients)},
           {"optimizer states", gigabytes(memory.optimizer)},
           {"activations", gigabytes(memory.activations)},
           {"work space", gigabytes(memory.work_space)},
           {"communication buffers", gigabytes(memory.buffers)},
           {"in all", gigabytes(memory.total())},
           {"a program can have",
            gigabytes(estimate.memory_limit) + (estimate.fits() ? ": it fits" : ": it does not fit")}}};
}

TitledRows traffic_section(const ReportedTraining& training) {
  const ExpertTraffic& traffic = training.estimate.traffic;
  const double tokens = micro_batch_tokens(training);
  const auto megabytes = [&](double bytes) {
    return fmt::format("{:.1f} MB", bytes * tokens / (kGiga * kMilli));
  };
  return {"All-to-all of one MoE layer, from one device, for a micro-batch, each way",
          {{"other nodes that a token goes to, at most", fmt::format("{:g}", traffic.remote_nodes)},
           {"network, dispatch", megabytes(traffic.network_dispatch)},
           {"network, combine", megabytes(traffic.network_combine)},
           {"inside nodes, dispatch", megabytes(traffic.node_dispatch)},
           {"inside nodes, combine", megabytes(traffic.node_combine)}}};
}

std::string exchange_text(const RingSeconds& exchange) {
  return fmt::format("{}, {} of it latency, {}", short_seconds(exchange.total),
                     short_seconds(exchange.latency),
                     exchange.is_by_nodes ? "rings inside nodes and over them" : "one ring");
}

TitledRows step_section(const TrainingEstimate& estimate) {
  const PipelineTimes& times = estimate.times;
  const ChunkSeconds& chunk = estimate.chunk;
  const double idle = 100 * estimate.bubble_seconds / estimate.pipeline_seconds;
  const auto both = [](double forward, double backward) {
    return short_seconds(forward) + ", " + short_seconds(backward);
  };
  TitledRows section = {"One step",
                        {{"micro-batches of a pipeline", fmt::format("{}", estimate.shape.micro_batches)},
                         {"F, forward of a chunk", short_seconds(times.forward)},
                         {"B, backward", short_seconds(times.backward)},
                         {"W, of it weights'", short_seconds(times.weight)},
                         {"F&B, overlapped", short_seconds(times.forward_backward)},
                         {"all-to-all of F and of B", both(chunk.traffic_forward, chunk.traffic_backward)}}};
  if (estimate.layout.tp > 1)
    section.rows.push_back(
        {"tensor-parallel collectives, F and B", both(chunk.tensor_forward, chunk.tensor_backward)});
  if (estimate.layout.cp > 1)
    section.rows.push_back(
        {"waiting for latents of other ranks, F and B", both(chunk.context_forward, chunk.context_backward)});
  const std::vector<TableRow> rest = {
      {"a message between stages", short_seconds(times.communication)},
      {"pipeline, simulated", short_seconds(estimate.pipeline_seconds)},
      {"of it bubble", fmt::format("{}, {:.1f} %", short_seconds(estimate.bubble_seconds), idle)},
      {"gradients and weights exchanged", exchange_text(estimate.update.exchange)},
      {"optimizer", short_seconds(estimate.update.optimizer)},
      {"in all", short_seconds(estimate.step_seconds())}};
  section.rows.insert(section.rows.end(), rest.begin(), rest.end());
  return section;
}

TitledRows bill_section(const ReportedTraining& training) {
  const TrainingTask& task = training.estimator.task();
  const Hardware& hardware = training.estimator.hardware();
  const TrainingBill bill = training_bill(task, training.estimate, hardware);
  return {"Training",
          {{"tokens", fmt::format("{:.4g} T", task.tokens / 1e12)},
           {"tokens a second", grouped(bill.tokens_per_second)},
           {"MFU", fmt::format("{:.1f} %", 100 * bill.mfu)},
           {"device hours for a trillion tokens", short_count(bill.hours_per_trillion)},
           {"device hours", short_count(bill.device_hours)},
           {"days", fmt::format("{:.1f}", bill.days)},
           {"price", fmt::format("{} {} at {:g} an hour", short_count(bill.price), hardware.currency,
                                 hardware.price_per_hour)}}};
}

std::string microseconds(double seconds) {
  return fmt::format("{:g} us a message", seconds / kMicro);
}

/// "8 devices a node; 256 within 2.8 us; 16,384 within 3.7 us; 131,072 within 4.6 us at 1:7".
std::string network_text(const Hardware& hardware) {
  std::string text = fmt::format("{} devices a node", hardware.devices_per_node);
  for (const NetworkLevel& level : hardware.network_levels) {
    text += fmt::format("; {} within {:g} us", format_count(static_cast<std::uint64_t>(level.devices)),
                        level.latency / kMicro);
    if (level.oversubscription > 1) text += fmt::format(" at 1:{:g}", level.oversubscription);
  }
  return text;
}

TitledRows assumption_section(const ReportedTraining& training) {
  const TrainingTask& task = training.estimator.task();
  const Hardware& hardware = training.estimator.hardware();
  const HardwareEfficiency& efficiency = hardware.efficiency;
  const auto percent = [](double part) { return fmt::format("{:.1f} %", 100 * part); };
  const auto rate = [](double bytes) { return fmt::format("{:g} GB/s", bytes / kGiga); };
  return {"Assumptions",
          {{"batch",
            fmt::format("{} sequences of {} tokens in every step", grouped(static_cast<double>(task.batch)),
                        grouped(static_cast<double>(task.sequence_length)))},
           {"linear maps reach", fmt::format("{} of {:g} TFLOP/s", percent(efficiency.gemm),
                                             hardware.flops(task.precision) / 1e12)},
           {"attention's core reaches",
            fmt::format("{} of {:g} TFLOP/s", percent(efficiency.attention), hardware.bf16_flops / 1e12)},
           {"memory reaches", percent(efficiency.memory) + " of " + rate(hardware.memory_bandwidth)},
           {"links inside nodes reach",
            fmt::format("{} of {}, {}", percent(efficiency.node_links), rate(hardware.node_bandwidth),
                        microseconds(hardware.node_latency))},
           {"links between nodes reach",
            percent(efficiency.network_links) + " of " + rate(hardware.network_bandwidth)},
           {"network", network_text(hardware)},
           {"placement",
            "on the network tensor-parallel ranks are nearest, then context, data, pipeline; experts over "
            "the nearest"},
           {"moving data costs", percent(hardware.overlap_cost) + " of the computing beside it"},
           {"experts", "evenly loaded; a token's on as many nodes as routing allows"},
           {"MFU", fmt::format("of {:g} TFLOP/s in BF16; the main model's work, causal attention",
                               hardware.bf16_flops / 1e12)},
           {"not counted", "failures, restarts, evaluation, checkpoints, the ramp of the batch size"}}};
}

std::vector<TitledRows> sections_of(const ReportedTraining& training) {
  return {model_section(training),   memory_section(training.estimate),
          traffic_section(training), step_section(training.estimate),
          bill_section(training),    assumption_section(training)};
}

std::string training_title(const ReportedTraining& training) {
  return fmt::format("{} on {} × {}", training.model,
                     grouped(static_cast<double>(training.estimate.layout.devices())),
                     training.estimator.hardware().name);
}

OrderedJson memory_json(const TrainingEstimate& estimate) {
  const RankMemory& memory = estimate.memory;
  return {
      {"weights", memory.weights},         {"gradients", memory.gradients},   {"optimizer", memory.optimizer},
      {"activations", memory.activations}, {"work_space", memory.work_space}, {"buffers", memory.buffers},
      {"total", memory.total()},           {"limit", estimate.memory_limit},  {"fits", estimate.fits()}};
}

OrderedJson layout_json(const TrainingLayout& layout) {
  return {{"text", layout_text(layout)},
          {"schedule", pipeline_kind_name(layout.schedule)},
          {"pp", layout.pp},
          {"chunks", layout.chunks},
          {"tp", layout.tp},
          {"cp", layout.cp},
          {"ep", layout.ep},
          {"dp", layout.dp},
          {"micro_batch", layout.micro_batch},
          {"recompute", layout.recompute == Recompute::full ? "full" : "selective"}};
}

OrderedJson seconds_json(const TrainingEstimate& estimate) {
  return {{"forward", estimate.times.forward},
          {"backward", estimate.times.backward},
          {"weight", estimate.times.weight},
          {"overlapped", estimate.times.forward_backward},
          {"communication", estimate.times.communication},
          {"all_to_all_forward", estimate.chunk.traffic_forward},
          {"all_to_all_backward", estimate.chunk.traffic_backward},
          {"tensor_parallel_forward", estimate.chunk.tensor_forward},
          {"tensor_parallel_backward", estimate.chunk.tensor_backward},
          {"context_parallel_forward", estimate.chunk.context_forward},
          {"context_parallel_backward", estimate.chunk.context_backward},
          {"pipeline", estimate.pipeline_seconds},
          {"bubble", estimate.bubble_seconds},
          {"idle_fraction", estimate.idle_fraction},
          {"exchange", estimate.update.exchange.total},
          {"exchange_latency", estimate.update.exchange.latency},
          {"optimizer", estimate.update.optimizer},
          {"total", estimate.step_seconds()}};
}

OrderedJson bill_json(const TrainingBill& bill, const Hardware& hardware) {
  return {{"tokens_per_second", bill.tokens_per_second},
          {"mfu", bill.mfu},
          {"device_hours_per_trillion_tokens", bill.hours_per_trillion},
          {"device_hours", bill.device_hours},
          {"days", bill.days},
          {"price", bill.price},
          {"currency", hardware.currency}};
}

}  // namespace

std::string training_text(const ReportedTraining& training) {
  std::string text =
      fmt::format("{}\n  {}\n", training_title(training), layout_text(training.estimate.layout));
  for (const TitledRows& section : sections_of(training))
    text += fmt::format("\n{}\n{}", section.title, text_table(section.rows, 2));
  return text;
}

OrderedJson training_json(const ReportedTraining& training) {
  const TrainingTask& task = training.estimator.task();
  const Hardware& hardware = training.estimator.hardware();
  const TrainedParameters parameters = trained_parameters(task.model);
  const TrainingFlops flops = training_flops_per_token(task.model, task.sequence_length);
  const ExpertTraffic& traffic = training.estimate.traffic;
  return {{"model", training.model},
          {"hardware", hardware.name},
          {"devices", training.estimate.layout.devices()},
          {"layout", layout_json(training.estimate.layout)},
          {"parameters",
           {{"total", parameters.main}, {"activated", parameters.activated}, {"mtp", parameters.mtp}}},
          {"flops_per_token", {{"main", flops.main}, {"mtp", flops.mtp}}},
          {"cache_bytes_per_token", 2 * task.model.latent_dim() * task.model.num_hidden_layers},
          {"memory", memory_json(training.estimate)},
          {"all_to_all_bytes_per_token_and_layer",
           {{"remote_nodes", traffic.remote_nodes},
            {"network_dispatch", traffic.network_dispatch},
            {"network_combine", traffic.network_combine},
            {"node_dispatch", traffic.node_dispatch},
            {"node_combine", traffic.node_combine}}},
          {"micro_batches", training.estimate.shape.micro_batches},
          {"seconds", seconds_json(training.estimate)},
          {"training", bill_json(training_bill(task, training.estimate, hardware), hardware)},
          {"assumptions",
           {{"batch", task.batch},
            {"sequence_length", task.sequence_length},
            {"tokens", task.tokens},
            {"gemm_efficiency", hardware.efficiency.gemm},
            {"attention_efficiency", hardware.efficiency.attention},
            {"memory_efficiency", hardware.efficiency.memory},
            {"node_links_efficiency", hardware.efficiency.node_links},
            {"network_links_efficiency", hardware.efficiency.network_links},
            {"overlap_cost", hardware.overlap_cost}}}};
}

std::string training_page(const ReportedTraining& training) {
  const TrainingBill bill =
      training_bill(training.estimator.task(), training.estimate, training.estimator.hardware());
  HtmlPage page(training_title(training));
  page.add_paragraph(layout_text(training.estimate.layout));
  page.add_tiles({{"Device hours", short_count(bill.device_hours)},
                  {"Price, " + training.estimator.hardware().currency, short_count(bill.price)},
                  {"Days", fmt::format("{:.1f}", bill.days)},
                  {"MFU", fmt::format("{:.1f} %", 100 * bill.mfu)},
                  {"Memory of a device", gigabytes(training.estimate.memory.total())},
                  {"Step", short_seconds(training.estimate.step_seconds())}});
  page.add_facts(sections_of(training));
  page.add_heading("The pipeline of a step, in seconds");
  const ComparedSchedule schedule = {
      .kind = training.estimate.shape.kind,
      .step = simulate_schedule(training.estimate.shape, training.estimate.times),
      .refusal = {}};
  try {
    page.add_picture(schedules_svg({&schedule, 1}));
  } catch (const Error& error) {
    page.add_paragraph(error.what());
  }
  return page.text();
}

std::string search_text(const TrainingEstimator& estimator, const LayoutSearch& search) {
  std::vector<TableRow> rows = {{"schedule", "recompute", "pp", "chunks", "tp", "cp", "ep", "dp",
                                 "micro-batch", "memory GB", "step s", "bubble", "MFU", "hours / T tokens"}};
  for (const TrainingEstimate& estimate : search.best) {
    const TrainingLayout& layout = estimate.layout;
    const TrainingBill bill = training_bill(estimator.task(), estimate, estimator.hardware());
    rows.push_back({std::string(pipeline_kind_name(layout.schedule)),
                    layout.recompute == Recompute::full ? "full" : "selective", fmt::format("{}", layout.pp),
                    fmt::format("{}", layout.chunks), fmt::format("{}", layout.tp),
                    fmt::format("{}", layout.cp), fmt::format("{}", layout.ep), fmt::format("{}", layout.dp),
                    fmt::format("{}", layout.micro_batch),
                    fmt::format("{:.1f}", estimate.memory.total() / kGiga),
                    fmt::format("{:.3f}", estimate.step_seconds()),
                    fmt::format("{:.1f} %", 100 * estimate.bubble_seconds / estimate.pipeline_seconds),
                    fmt::format("{:.1f} %", 100 * bill.mfu), short_count(bill.hours_per_trillion)});
  }
  return fmt::format("{}\n  {} layouts, of which {} fit; {} were simulated.\n", text_table(rows, 2),
                     grouped(static_cast<double>(search.layouts)),
                     grouped(static_cast<double>(search.fitting)),
                     grouped(static_cast<double>(search.simulated)));
}

OrderedJson search_json(const TrainingEstimator& estimator, const LayoutSearch& search) {
  OrderedJson best = OrderedJson::array();
  for (const TrainingEstimate& estimate : search.best)
    best.push_back({{"layout", layout_json(estimate.layout)},
                    {"memory", memory_json(estimate)},
                    {"seconds", seconds_json(estimate)},
                    {"training", bill_json(training_bill(estimator.task(), estimate, estimator.hardware()),
                                           estimator.hardware())}});
  return {{"layouts", search.layouts},
          {"fitting", search.fitting},
          {"simulated", search.simulated},
          {"best", best}};
}

}  // namespace fathom
