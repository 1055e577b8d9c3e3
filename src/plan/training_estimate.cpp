#include "plan/training_estimate.h"

#include <algorithm>

#include "base/error.h"
#include "dist/stage_split.h"

namespace fathom {
namespace {

constexpr double kSecondsPerHour = 3600;

/// What stages are balanced by: a unit's seconds at nominal speeds, so that the split is the same whatever
/// the efficiencies are.
std::vector<double> split_costs(std::span<const ModelUnit> units, Hardware hardware, Precision precision) {
  hardware.efficiency = {};
  std::vector<double> costs;
  for (const ModelUnit& unit : units) costs.push_back(unit_seconds(unit, hardware, precision).forward());
  return costs;
}

}  // namespace

TrainingBill training_bill(const TrainingTask& task, const TrainingEstimate& estimate,
                           const Hardware& hardware) {
  const auto devices = static_cast<double>(estimate.layout.devices());
  const double step_tokens = static_cast<double>(task.batch) * static_cast<double>(task.sequence_length);
  TrainingBill bill;
  bill.tokens_per_second = step_tokens / estimate.step_seconds();
  bill.mfu = training_flops_per_token(task.model, task.sequence_length).main * bill.tokens_per_second /
             (devices * hardware.bf16_flops);
  constexpr double kTrillion = 1e12;
  bill.hours_per_trillion = kTrillion / bill.tokens_per_second * devices / kSecondsPerHour;
  bill.device_hours = task.tokens / kTrillion * bill.hours_per_trillion;
  bill.days = bill.device_hours / devices / 24;
  bill.price = bill.device_hours * hardware.price_per_hour;
  return bill;
}

TrainingEstimator::TrainingEstimator(const TrainingTask& task, const Hardware& hardware)
    : task_(task),
      hardware_(hardware),
      units_(model_units(task.model, task.sequence_length, task.precision)) {
  splits_ = split_stages(split_costs(units_, hardware_, task_.precision));
}

TrainingEstimate TrainingEstimator::outline(const TrainingLayout& layout) const {
  require_joined(hardware_, layout.devices());
  TrainingEstimate result;
  result.layout = layout;
  result.shape = pipeline_of(task_, layout);
  const auto stages = static_cast<std::size_t>(result.shape.stages);
  require(stages <= units_.size(), "{} stages for a model of {} pieces (layers, embedding, head): take fewer",
          stages, units_.size());
  const std::vector<std::size_t>& first = splits_[stages];
  result.memory = rank_memory(task_, layout, result.shape, units_, first);
  result.memory_limit = hardware_.memory_bytes * hardware_.usable_memory;
  result.traffic = expert_traffic(task_.model, layout.ep, hardware_.devices_per_node, task_.precision);
  result.chunk = chunk_seconds(task_, layout, result.shape, hardware_, units_, first);
  result.times = pipeline_times(result.chunk, task_, layout, hardware_);
  result.update = update_seconds(task_, layout, result.shape, hardware_, units_, first);
  return result;
}

double TrainingEstimator::least_seconds(const TrainingEstimate& outline) const {
  const PipelineTimes& times = outline.times;
  const bool overlaps =
      outline.shape.kind == PipelineKind::dualpipe || outline.shape.kind == PipelineKind::dualpipe_v;
  const double pair = overlaps ? std::min(times.forward_backward, times.forward + times.backward)
                               : times.forward + times.backward;
  // A rank computes every micro-batch on each stage that micro-batch meets there.
  const double chunks = static_cast<double>(outline.shape.micro_batches) *
                        (static_cast<double>(outline.shape.stages) / outline.shape.ranks());
  return chunks * pair + outline.update.total();
}

void TrainingEstimator::simulate(TrainingEstimate& outline) const {
  const SimulatedStep step = simulate_schedule(outline.shape, outline.times);
  outline.pipeline_seconds = step.makespan;
  outline.bubble_seconds = step.bubble();
  outline.idle_fraction = step.idle_fraction();
}

TrainingEstimate TrainingEstimator::estimate(const TrainingLayout& layout) const {
  TrainingEstimate result = outline(layout);
  simulate(result);
  return result;
}

std::optional<double> calibrated_gemm_efficiency(TrainingEstimator estimator, const TrainingLayout& layout,
                                                 double hours_per_trillion) {
  const auto hours_at = [&](double efficiency) {
    estimator.set_gemm_efficiency(efficiency);
    return training_bill(estimator.task(), estimator.estimate(layout), estimator.hardware())
        .hours_per_trillion;
  };
  double low = 1e-3;
  double high = 1;
  if (hours_at(high) > hours_per_trillion || hours_at(low) < hours_per_trillion) return std::nullopt;
  constexpr int kHalvings = 30;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (hours_at(middle) > hours_per_trillion ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace fathom
