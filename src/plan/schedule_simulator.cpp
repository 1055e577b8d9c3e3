#include "plan/schedule_simulator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "dist/schedule_messages.h"
#include "dist/schedule_replay.h"

namespace fathom {
namespace {

double duration_of(const Action& action, const PipelineTimes& times) {
  switch (action.kind) {
    case ActionKind::forward:
      return times.forward;
    case ActionKind::backward:
      return times.backward;
    case ActionKind::backward_input:
      return times.backward - times.weight;
    case ActionKind::backward_weight:
      return times.weight;
    case ActionKind::forward_backward:
      return times.forward_backward;
    default:
      return 0;
  }
}

/// The ranks' clocks, and when messages have been posted on both sides.
class StepClock {
 public:
  StepClock(const PipelineSchedule& schedule, SimulatedStep& step)
      : schedule_(schedule),
        step_(step),
        numbers_(schedule.shape),
        posted_(static_cast<std::size_t>(numbers_.count()), 0.0),
        clock_(schedule.actions.size(), 0.0) {}

  void run(std::size_t rank, std::size_t at) {
    const Action& action = schedule_.actions[rank][at];
    if (!action.computes()) {
      double& posted = posted_[static_cast<std::size_t>(numbers_.of(action))];
      posted = std::max(posted, clock_[rank]);
      return;
    }
    double begin = clock_[rank];
    for (const std::int32_t message : numbers_.needed_by(action)) begin = std::max(begin, arrival(message));
    const double duration = duration_of(action, step_.times);
    clock_[rank] = begin + duration;
    step_.computed[rank].push_back({.action = action, .begin = begin, .end = clock_[rank]});
    step_.busy[rank] += duration;
    step_.makespan = std::max(step_.makespan, clock_[rank]);
  }

 private:
  [[nodiscard]] double arrival(std::int32_t message) const {
    return message == MessageNumbers::kNone
               ? 0.0
               : posted_[static_cast<std::size_t>(message)] + step_.times.communication;
  }

  const PipelineSchedule& schedule_;
  SimulatedStep& step_;
  MessageNumbers numbers_;
  std::vector<double> posted_;  // [message] by the later of its two ends so far
  std::vector<double> clock_;   // [rank]
};

}  // namespace

void check_times(const PipelineTimes& times) {
  const auto check = [](bool good, const char* name, double value) {
    require(good,
            "schedule times: {} of {} cannot be: take 0 to 1e15, weight at most backward, the others above 0",
            name, value);
  };
  constexpr double kMost = 1e15;  // sums of them stay finite, and exact enough to be told apart
  const auto within = [&](double value, double least) { return value >= least && value <= kMost; };
  check(within(times.forward, 0) && times.forward > 0, "forward", times.forward);
  check(within(times.weight, 0), "weight", times.weight);
  check(within(times.backward, times.weight) && times.backward > 0, "backward", times.backward);
  check(within(times.forward_backward, 0) && times.forward_backward > 0, "overlapped pair",
        times.forward_backward);
  check(within(times.communication, 0), "communication", times.communication);
}

double SimulatedStep::bubble() const {
  return makespan - *std::ranges::min_element(busy);
}

double SimulatedStep::idle_fraction() const {
  const double total = makespan * static_cast<double>(busy.size());
  return 1 - std::accumulate(busy.begin(), busy.end(), 0.0) / total;
}

SimulatedStep simulate_schedule(const PipelineSchedule& schedule, const PipelineTimes& times) {
  check_times(times);
  SimulatedStep step;
  step.loads = check_schedule(schedule);
  step.shape = schedule.shape;
  step.times = times;
  step.computed.resize(schedule.actions.size());
  step.busy.resize(schedule.actions.size(), 0.0);
  StepClock clock(schedule, step);
  (void)replay_schedule(schedule, [&](std::size_t rank, std::size_t at) { clock.run(rank, at); });
  return step;
}

SimulatedStep simulate_schedule(const PipelineShape& shape, const PipelineTimes& times) {
  return simulate_schedule(make_schedule(shape), times);
}

BubbleFormula bubble_formula(const PipelineShape& shape, const PipelineTimes& times) {
  const double stages = shape.stages;
  const double forward = times.forward;
  const double backward = times.backward;
  const double input = backward - times.weight;
  const bool at_once = times.communication == 0;
  switch (shape.kind) {
    case PipelineKind::one_f_one_b:
      return {"(PP-1)(F+B)", (stages - 1) * (forward + backward), at_once};
    case PipelineKind::interleaved:
      return {"(PP/v-1)(F+B)", (shape.ranks() - 1) * (forward + backward),
              at_once && shape.micro_batches % shape.ranks() == 0};
    case PipelineKind::zb1p:
      return {"(PP-1)(F+B-2W)", (stages - 1) * (forward + backward - 2 * times.weight),
              at_once && (stages == 1 ||
                          (times.weight <= std::min(forward, input) && shape.micro_batches >= shape.stages))};
    case PipelineKind::dualpipe:
    case PipelineKind::dualpipe_v: {
      constexpr double kRounding = 1e-12;
      const bool even = std::abs(forward - input) <= kRounding * forward && times.weight <= forward;
      return {"(PP/2-1)(F&B+B-3W)", (stages / 2 - 1) * (times.forward_backward + backward - 3 * times.weight),
              at_once && (stages == 2 || even)};
    }
  }
  fail("schedule kind {} is not known", static_cast<int>(shape.kind));
}

}  // namespace fathom
