#include "dist/schedule_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/turns.h"
#include "dist/local_communicator.h"
#include "support/error_text.h"
#include "support/pipeline_shapes.h"
#include "support/ranks.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

/// A number as a message.
Tensor tensor_of(std::uint64_t value) {
  Tensor tensor = Tensor::empty({sizeof(value)}, DType::u8);
  std::memcpy(tensor.data(), &value, sizeof(value));
  return tensor;
}
std::uint64_t number_in(const Tensor& tensor) {
  std::uint64_t value = 0;
  std::memcpy(&value, tensor.data(), sizeof(value));
  return value;
}

/// Stages whose outputs and gradients are numbers that depend on all that went before.
class NumberWork : public StageWork {
 public:
  explicit NumberWork(std::int32_t stages) : stages_(stages) {}

  static std::uint64_t output(std::uint64_t input, StageBatch chunk) {
    return input * 31 + static_cast<std::uint64_t>(chunk.stage) + 1;
  }
  static std::uint64_t gradient(std::uint64_t behind, std::uint64_t input) { return behind * 17 + input; }
  static std::uint64_t first_input(StageBatch chunk) { return static_cast<std::uint64_t>(chunk.micro_batch); }

  /// The sum of all weight gradients of all stages, worked out one micro-batch after another.
  static std::uint64_t weights_of_all(const PipelineShape& shape) {
    std::uint64_t sum = 0;
    for (std::int32_t m = 0; m < shape.micro_batches; ++m) {
      std::vector<std::uint64_t> inputs;
      std::uint64_t x = static_cast<std::uint64_t>(m);
      for (std::int32_t s = 0; s < shape.stages; ++s) {
        inputs.push_back(x);
        x = output(x, {static_cast<std::int16_t>(s), static_cast<std::int16_t>(m)});
      }
      std::uint64_t behind = 1;
      for (std::size_t s = inputs.size(); s-- > 0;) {
        sum += behind * inputs[s];
        behind = gradient(behind, inputs[s]);
      }
    }
    return sum;
  }

  Tensor input_room(StageBatch) override { return tensor_of(0); }
  Tensor gradient_room(StageBatch) override { return tensor_of(0); }

  Tensor forward(StageBatch chunk, Tensor input) override {
    actions.push_back({.kind = ActionKind::forward, .chunk = chunk});
    EXPECT_EQ(input.defined(), chunk.stage > 0);
    const std::uint64_t x = input.defined() ? number_in(input) : first_input(chunk);
    inputs_[{chunk.stage, chunk.micro_batch}] = x;
    return chunk.stage + 1 < stages_ ? tensor_of(output(x, chunk)) : Tensor();
  }
  Tensor backward(StageBatch chunk, Tensor output_gradient) override {
    actions.push_back({.kind = ActionKind::backward, .chunk = chunk});
    Tensor result = input_gradient(chunk, output_gradient);
    add_weight(chunk);
    return result;
  }
  Tensor backward_input(StageBatch chunk, Tensor output_gradient) override {
    actions.push_back({.kind = ActionKind::backward_input, .chunk = chunk});
    return input_gradient(chunk, output_gradient);
  }
  void backward_weight(StageBatch chunk) override {
    actions.push_back({.kind = ActionKind::backward_weight, .chunk = chunk});
    add_weight(chunk);
  }

  std::vector<Action> actions;
  std::uint64_t weights = 0;

 private:
  using Key = std::pair<int, int>;

  Tensor input_gradient(StageBatch chunk, const Tensor& output_gradient) {
    EXPECT_EQ(output_gradient.defined(), chunk.stage + 1 < stages_);
    const Key key = {chunk.stage, chunk.micro_batch};
    const std::uint64_t behind = output_gradient.defined() ? number_in(output_gradient) : 1;
    behind_[key] = behind;
    return chunk.stage > 0 ? tensor_of(gradient(behind, inputs_.at(key))) : Tensor();
  }
  void add_weight(StageBatch chunk) {
    const Key key = {chunk.stage, chunk.micro_batch};
    weights += behind_.at(key) * inputs_.at(key);
  }

  std::int32_t stages_;
  std::map<Key, std::uint64_t> inputs_;
  std::map<Key, std::uint64_t> behind_;
};

/// What a list computes, overlapped pairs as backward, then forward.
std::vector<Action> computed_by(const std::vector<Action>& list) {
  std::vector<Action> computed;
  for (const Action& action : list) {
    if (!action.computes()) continue;
    if (action.kind != ActionKind::forward_backward) {
      computed.push_back(action);
      continue;
    }
    computed.push_back({.kind = ActionKind::backward, .chunk = action.backward_chunk});
    computed.push_back({.kind = ActionKind::forward, .chunk = action.chunk});
  }
  return computed;
}

TEST(ScheduleExecutorTest, EveryScheduleComputesWhatItsListSaysAndWhatOneRankWould) {
  for (const PipelineKind kind : kPipelineKinds)
    for (const std::int32_t stages : {1, 2, 3, 4, 6})
      for (const std::int32_t micro_batches : {1, 4, 5, 8, 12}) {
        PipelineShape shape = {.kind = kind, .stages = stages, .micro_batches = micro_batches};
        if (kind == PipelineKind::interleaved) shape.stages_per_rank = stages % 2 == 0 ? 2 : stages;
        if (!test::pipeline_exists(kind, stages, micro_batches)) continue;
        const PipelineSchedule schedule = make_schedule(shape);
        std::atomic<std::uint64_t> weights = 0;
        test::on_ranks(shape.ranks(), [&](Communicator& ranks) {
          const ScheduleExecutor executor(schedule, ranks);
          for (int step = 0; step < 2; ++step) {
            NumberWork work(stages);
            executor.run(work);
            weights += work.weights;
            EXPECT_EQ(work.actions, computed_by(schedule.actions[static_cast<std::size_t>(ranks.rank())]));
          }
        });
        EXPECT_EQ(weights, 2 * NumberWork::weights_of_all(shape))
            << pipeline_kind_title(kind) << ", " << stages << " stages, " << micro_batches
            << " micro-batches";
      }
}

TEST(ScheduleExecutorTest, WhatMayNotBeExecutedIsRefusedBeforeAnythingRuns) {
  const std::vector<std::unique_ptr<Communicator>> ranks = local_communicators(4);
  const PipelineSchedule good =
      make_schedule({.kind = PipelineKind::dualpipe, .stages = 4, .micro_batches = 8});
  const auto refusal = [&](const PipelineSchedule& schedule) {
    return error_of([&] { const ScheduleExecutor executor(schedule, *ranks[0]); });
  };
  EXPECT_EQ(refusal(good), "no error");
  // Each rank refuses what any rank's list has, so that none begins.
  for (std::size_t rank = 0; rank < 4; ++rank) {
    PipelineSchedule missing = good;
    missing.actions[rank].pop_back();
    EXPECT_THAT(refusal(missing), HasSubstr("is missing"));
    PipelineSchedule swapped = good;
    std::swap(swapped.actions[rank].front(), swapped.actions[rank].back());
    EXPECT_THAT(refusal(swapped), HasSubstr("DualPipe, rank"));
  }
  EXPECT_THAT(refusal(make_schedule({.kind = PipelineKind::zb1p, .stages = 3, .micro_batches = 8})),
              HasSubstr("ZB1P of 3 stages on 4 ranks: it needs 3"));
}

TEST(ScheduleExecutorTest, OneOfAPairComputesWhileTheOtherWaitsForItsMessages) {
  /// Its backward pass waits in the middle, until a forward pass has ended.
  class WaitingWork : public NumberWork {
   public:
    using NumberWork::NumberWork;
    Tensor forward(StageBatch chunk, Tensor input) override {
      events.emplace_back("forward");
      message.came = true;
      return NumberWork::forward(chunk, std::move(input));
    }
    Tensor backward(StageBatch chunk, Tensor output_gradient) override {
      events.emplace_back("backward begins");
      Turns::wait(message);
      events.emplace_back("backward ends");
      return NumberWork::backward(chunk, std::move(output_gradient));
    }
    struct Message {
      std::atomic<bool> came = false;
      void wait() const {
        while (!came) std::this_thread::yield();
      }
    };
    Message message;
    std::vector<std::string> events;
  };
  WaitingWork work(1);
  (void)work.forward({0, 0}, {});
  work.events.clear();
  work.message.came = false;
  (void)work.overlapped({0, 1}, {}, {0, 0}, {});
  EXPECT_THAT(work.events, testing::ElementsAre("backward begins", "forward", "backward ends"));
}

}  // namespace
}  // namespace fathom
