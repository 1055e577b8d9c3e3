#include "dist/schedule_executor.h"

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "dist/schedule_check.h"
#include "dist/schedule_messages.h"

namespace fathom {
namespace {

constexpr int kTag = 0;

/// One step of one rank.
class StepExecution {
 public:
  StepExecution(const PipelineShape& shape, Communicator& ranks, StageWork& work,
                std::vector<TimedAction>* record)
      : numbers_(shape), last_stage_(shape.stages - 1), ranks_(ranks), work_(work), record_(record) {}

  void run(const Action& action) {
    if (action.receives()) {
      receive(action);
    } else if (action.sends()) {
      send(action);
    } else {
      compute(action);
    }
  }

  void finish() {
    for (const Message& message : sent_) message.transfer.wait();
  }

 private:
  /// A message under way, and its memory.
  struct Message {
    Tensor tensor;
    Transfer transfer;
  };

  void receive(const Action& action) {
    Tensor room = action.kind == ActionKind::receive_activation ? work_.input_room(action.chunk)
                                                                : work_.gradient_room(action.chunk);
    Transfer transfer = ranks_.receive(room.bytes(), action.peer, kTag);
    coming_.emplace(numbers_.of(action), Message{std::move(room), std::move(transfer)});
  }

  void send(const Action& action) {
    std::erase_if(sent_, [](const Message& message) { return message.transfer.done(); });
    const auto computed = outgoing_.extract(numbers_.of(action));
    const Tensor& tensor = computed.mapped();
    sent_.push_back({tensor, ranks_.send(tensor.bytes(), action.peer, kTag)});
  }

  void compute(const Action& action) {
    const StageBatch* forward = action.forward_part();
    const StageBatch* backward = action.backward_part();
    Tensor input = forward != nullptr ? input_of(*forward) : Tensor();
    Tensor gradient = backward != nullptr ? gradient_of(*backward) : Tensor();
    const double begin = monotonic_seconds();
    switch (action.kind) {
      case ActionKind::forward:
        keep_output(*forward, work_.forward(*forward, std::move(input)));
        break;
      case ActionKind::backward:
        keep_gradient(*backward, work_.backward(*backward, std::move(gradient)));
        break;
      case ActionKind::backward_input:
        keep_gradient(*backward, work_.backward_input(*backward, std::move(gradient)));
        break;
      case ActionKind::backward_weight:
        work_.backward_weight(action.chunk);
        break;
      default: {
        StageWork::Pair pair = work_.overlapped(*forward, std::move(input), *backward, std::move(gradient));
        keep_output(*forward, std::move(pair.output));
        keep_gradient(*backward, std::move(pair.input_gradient));
        break;
      }
    }
    if (record_ != nullptr) record_->push_back({action, begin, monotonic_seconds()});
  }

  Tensor arrived(std::int32_t message) {
    const auto coming = coming_.extract(message);
    coming.mapped().transfer.wait();
    return std::move(coming.mapped().tensor);
  }

  /// What a chunk's forward takes: from another rank, or from the stage before on this one.
  Tensor input_of(StageBatch chunk) {
    if (chunk.stage == 0) return {};
    const std::int32_t message = numbers_.activation_in(chunk);
    if (message != MessageNumbers::kNone) return arrived(message);
    return std::move(local_outputs_.extract(numbers_.index(MessageNumbers::before(chunk))).mapped());
  }
  Tensor gradient_of(StageBatch chunk) {
    if (chunk.stage == last_stage_) return {};
    const std::int32_t message = numbers_.gradient_in(chunk);
    if (message != MessageNumbers::kNone) return arrived(message);
    return std::move(local_gradients_.extract(numbers_.index(MessageNumbers::after(chunk))).mapped());
  }

  void keep_output(StageBatch chunk, Tensor output) {
    if (chunk.stage == last_stage_) return;
    const std::int32_t message = numbers_.activation_out(chunk);
    if (message != MessageNumbers::kNone) {
      outgoing_.emplace(message, std::move(output));
    } else {
      local_outputs_.emplace(numbers_.index(chunk), std::move(output));
    }
  }
  void keep_gradient(StageBatch chunk, Tensor gradient) {
    if (chunk.stage == 0) return;
    const std::int32_t message = numbers_.gradient_out(chunk);
    if (message != MessageNumbers::kNone) {
      outgoing_.emplace(message, std::move(gradient));
    } else {
      local_gradients_.emplace(numbers_.index(chunk), std::move(gradient));
    }
  }

  MessageNumbers numbers_;
  std::int32_t last_stage_;
  Communicator& ranks_;
  StageWork& work_;
  std::vector<TimedAction>* record_;
  std::unordered_map<std::int32_t, Message> coming_;          // by message, received or under way
  std::unordered_map<std::int32_t, Tensor> outgoing_;         // by message, computed and not sent yet
  std::unordered_map<std::int32_t, Tensor> local_outputs_;    // by chunk, for the stage behind on this rank
  std::unordered_map<std::int32_t, Tensor> local_gradients_;  // by chunk, for the stage before
  std::vector<Message> sent_;
};

}  // namespace

ScheduleExecutor::ScheduleExecutor(PipelineSchedule schedule, Communicator& ranks)
    : schedule_(std::move(schedule)), ranks_(ranks) {
  (void)check_schedule(schedule_);
  require(ranks.size() == schedule_.shape.ranks(), "{} of {} stages on {} ranks: it needs {}",
          pipeline_kind_title(schedule_.shape.kind), schedule_.shape.stages, ranks.size(),
          schedule_.shape.ranks());
}

void ScheduleExecutor::run(StageWork& work, std::vector<TimedAction>* record) const {
  StepExecution step(schedule_.shape, ranks_, work, record);
  for (const Action& action : actions()) step.run(action);
  step.finish();
}

}  // namespace fathom
