#include "train/training_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace fathom {
namespace {

constexpr double kMostTokens = 9e15;  // below 2^53: whole numbers that a double still tells apart

BatchPlan batch_plan(const TrainingConfig& training, std::string_view where) {
  const std::int64_t unit = std::max(training.micro_batch_size, std::int64_t{1});
  require(training.batch_size % unit == 0 && training.initial_batch_size % unit == 0,
          "{}: training.batch_size ({}) and training.initial_batch_size ({}) must be multiples of "
          "training.micro_batch_size ({})",
          where, training.batch_size, training.initial_batch_size, unit);
  const double sequences = static_cast<double>(training.steps) * static_cast<double>(training.batch_size);
  require(
      sequences * static_cast<double>(training.sequence_length) <= kMostTokens,
      "{}: training.steps ({}) of training.batch_size ({}) sequences of training.sequence_length ({}) are "
      "more than {:g} tokens",
      where, training.steps, training.batch_size, training.sequence_length, kMostTokens);
  require(training.initial_batch_size <= training.batch_size,
          "{}: training.initial_batch_size ({}) exceeds training.batch_size ({})", where,
          training.initial_batch_size, training.batch_size);
  require((training.initial_batch_size > 0) == training.batch_ramp_until.has_value(),
          "{}: training.initial_batch_size and training.batch_ramp_until make a ramp together: give both or "
          "neither",
          where);
  std::optional<BatchPlan::Ramp> ramp;
  if (training.batch_ramp_until) {
    ramp = {training.initial_batch_size, *training.batch_ramp_until};
    require(ramp->until.token_percent || ramp->until.steps <= training.steps,
            "{}: training.batch_ramp_until ({}) exceeds training.steps ({})", where, ramp->until.steps,
            training.steps);
  }
  return {training.steps, training.batch_size, unit, ramp};
}

/// The learning rate's own segments, or those that its peak and the simple keys stand for.
Schedule learning_rate_schedule(const TrainingConfig& training, std::string_view where) {
  constexpr std::int64_t kLongestDefaultWarmup = 2000;
  if (!training.learning_rate.is_constant()) {
    require(!training.warmup_steps && !training.decay_steps && !training.final_learning_rate_factor,
            "{}: training.learning_rate is a list of segments: leave out warmup_steps, decay_steps and "
            "final_learning_rate_factor, which make one of a single number",
            where);
    return training.learning_rate;
  }
  const double peak = training.learning_rate.first();
  const std::int64_t warmup =
      training.warmup_steps.value_or(std::min(training.steps / 50, kLongestDefaultWarmup));
  const std::int64_t decay = training.decay_steps.value_or(training.steps * 3 / 10);
  require(warmup <= training.steps && decay <= training.steps - warmup,
          "{}: training.warmup_steps ({}) and training.decay_steps ({}) together exceed training.steps ({})",
          where, warmup, decay, training.steps);
  std::vector<ScheduleSegment> segments;
  if (warmup > 0) segments.push_back({.from = 0, .to = peak, .until = RunPosition{warmup}});
  if (decay == 0) {
    segments.push_back({.from = peak, .to = peak});
    return Schedule(std::move(segments));
  }
  segments.push_back({.from = peak, .to = peak, .until = RunPosition{training.steps - decay}});
  segments.push_back({.from = peak,
                      .to = peak * training.final_learning_rate_factor.value_or(0.1),
                      .shape = ScheduleSegment::Shape::cosine});
  return Schedule(std::move(segments));
}

}  // namespace

TrainingPlan::TrainingPlan(const TrainingConfig& training, std::string_view where)
    : batches_(batch_plan(training, where)),
      learning_rate_(learning_rate_schedule(training, where), batches_,
                     fmt::format("{}: training.learning_rate", where)),
      mtp_loss_factor_(training.mtp_loss_factor, batches_,
                       fmt::format("{}: training.mtp_loss_factor", where)),
      router_bias_update_rate_(training.router_bias_update_rate, batches_,
                               fmt::format("{}: training.router_bias_update_rate", where)) {}

TrainingPlan::Step TrainingPlan::at(std::int64_t step) const {
  return {.batch_size = batches_.batch_size(step),
          .learning_rate = learning_rate_.at(step),
          .mtp_loss_factor = mtp_loss_factor_.at(step),
          .router_bias_update_rate = router_bias_update_rate_.at(step)};
}

}  // namespace fathom
