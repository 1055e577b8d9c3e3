// Pipeline schedules executed (dist/schedule_executor.h) beside the same lists simulated: the bubble of each,
// in forwards of a stage.
//
// usage: pipeline_bench [FORWARD_MS]
// Computing is replaced by sleeping, so that as many ranks run at once as there are, however few cores;
// lists, messages and waiting are those of training. The bubble is what the rank with the least work is idle
// of the time from the first rank's beginning to the last one's end. Of a few steps the shortest counts: what
// else runs on the machine only adds. Threads that wake late make bubbles longer: where the machine is not
// idle, `chrt -f 1 pipeline_bench` gives them their turn at once.

#include <fmt/core.h>
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/collectives.h"
#include "dist/local_communicator.h"
#include "dist/schedule_executor.h"
#include "plan/schedule_simulator.h"

namespace {

using namespace fathom;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kSteps = 3;

/// The published figures' times: F = B - W = W, and an overlapped pair takes as long as both.
PipelineTimes times_of(double forward) {
  return {.forward = forward, .backward = 2 * forward, .weight = forward, .forward_backward = 3 * forward};
}

/// Sleeps end when they are told to, to the nanosecond, where the machine has time.
void sleep_to_the_point() {
  (void)prctl(PR_SET_TIMERSLACK, 1);
}

/// What a thread takes to wake from its sleep: the median of a few.
Seconds measure_waking() {
  sleep_to_the_point();
  std::vector<Seconds> late;
  for (int i = 0; i < 51; ++i) {
    const Clock::time_point end = Clock::now() + std::chrono::milliseconds(2);
    std::this_thread::sleep_until(end);
    late.emplace_back(Clock::now() - end);
  }
  std::ranges::nth_element(late, late.begin() + 25);
  return late[25];
}

/// Stages that sleep for as long as they would compute.
class SleepingWork : public StageWork {
 public:
  /// @param waking  what a thread takes to wake, which is of its sleep
  SleepingWork(const PipelineTimes& times, Seconds waking) : times_(times), waking_(waking) {}

  [[nodiscard]] double busy() const { return busy_; }

  Tensor input_room(StageBatch) override { return Tensor::empty({1}); }
  Tensor gradient_room(StageBatch) override { return Tensor::empty({1}); }
  Tensor forward(StageBatch, Tensor) override { return sleep(times_.forward); }
  Tensor backward(StageBatch, Tensor) override { return sleep(times_.backward); }
  Tensor backward_input(StageBatch, Tensor) override { return sleep(times_.backward - times_.weight); }
  void backward_weight(StageBatch) override { (void)sleep(times_.weight); }
  Pair overlapped(StageBatch, Tensor, StageBatch, Tensor) override {
    const Tensor message = sleep(times_.forward_backward);
    return {message, message};
  }

 private:
  Tensor sleep(double seconds) {
    const Clock::time_point begin = Clock::now();
    const Seconds asleep = Seconds(seconds) - waking_;
    std::this_thread::sleep_until(begin + std::chrono::duration_cast<Clock::duration>(asleep));
    busy_ += Seconds(Clock::now() - begin).count();
    return Tensor::zeros({1});
  }

  PipelineTimes times_;
  Seconds waking_;
  double busy_ = 0;
};

struct MeasuredStep {
  double makespan = 0;
  double least_busy = 0;
  [[nodiscard]] double bubble() const { return makespan - least_busy; }
};

MeasuredStep measure_step(const PipelineSchedule& schedule, const PipelineTimes& times, Seconds waking) {
  const std::vector<std::unique_ptr<Communicator>> ranks = local_communicators(schedule.shape.ranks());
  struct Rank {
    Clock::time_point begin;
    Clock::time_point end;
    double busy = 0;
  };
  std::vector<Rank> measured(ranks.size());
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < ranks.size(); ++r)
    threads.emplace_back([&, r] {
      sleep_to_the_point();
      const ScheduleExecutor executor(schedule, *ranks[r]);
      SleepingWork work(times, waking);
      barrier(*ranks[r]);
      measured[r].begin = Clock::now();
      executor.run(work);
      measured[r].end = Clock::now();
      measured[r].busy = work.busy();
    });
  for (std::thread& thread : threads) thread.join();
  const auto first = std::ranges::min_element(measured, {}, &Rank::begin)->begin;
  const auto last = std::ranges::max_element(measured, {}, &Rank::end)->end;
  return {Seconds(last - first).count(), std::ranges::min_element(measured, {}, &Rank::busy)->busy};
}

void run(double forward) {
  const PipelineTimes times = times_of(forward);
  const Seconds waking = measure_waking();
  fmt::print(
      "F = {:.1f} ms, B = 2 F, W = F, F&B = 3 F; bubbles in F, least of {} steps; a thread wakes in {:.0f} "
      "us\n\n",
      1e3 * forward, kSteps, 1e6 * waking.count());
  fmt::print("  {:<18} {:>5} {:>6} {:>13} {:>10} {:>10} {:>9} {:>8}\n", "schedule", "ranks", "stages",
             "micro-batches", "simulated", "measured", "apart", "makespan");
  for (const std::int32_t ranks : {4, 8})
    for (const PipelineKind kind : kPipelineKinds) {
      const bool two_each = kind == PipelineKind::interleaved || kind == PipelineKind::dualpipe_v;
      const PipelineShape shape = {.kind = kind,
                                   .stages = two_each ? 2 * ranks : ranks,
                                   .micro_batches = 5 * ranks / 2,
                                   .stages_per_rank = kind == PipelineKind::interleaved ? 2 : 1};
      const PipelineSchedule schedule = make_schedule(shape);
      const double simulated = simulate_schedule(schedule, times).bubble() / forward;
      MeasuredStep best = measure_step(schedule, times, waking);
      for (int step = 1; step < kSteps; ++step)
        best = std::min(best, measure_step(schedule, times, waking),
                        [](const MeasuredStep& a, const MeasuredStep& b) { return a.makespan < b.makespan; });
      const double measured = best.bubble() / forward;
      fmt::print("  {:<18} {:>5} {:>6} {:>13} {:>10.2f} {:>10.2f} {:>+7.1f} % {:>6.0f} ms\n",
                 pipeline_kind_title(kind), ranks, shape.stages, shape.micro_batches, simulated, measured,
                 100 * (measured / simulated - 1), 1e3 * best.makespan);
      (void)std::fflush(stdout);
    }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const double milliseconds = argc > 1 ? std::strtod(argv[1], nullptr) : 10;
    fathom::require(milliseconds > 0, "'{}' is no time: give a forward's milliseconds, such as 10", argv[1]);
    run(milliseconds / 1e3);
  } catch (const fathom::Error& error) {
    fmt::print(stderr, "pipeline_bench: {}\n", error.what());
    return 1;
  }
}
