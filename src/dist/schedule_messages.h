#pragma once

#include <array>
#include <cstdint>

#include "dist/compute_order.h"
#include "dist/pipeline_schedule.h"

namespace fathom {

/// Which of its neighbours on the ring a rank's peer is, and ranks talk to no others: 0 the next one, 1 the
/// one before. Of two ranks, the only other one is the next.
inline std::size_t side_of(const PipelineShape& shape, std::int32_t rank, std::int32_t peer) {
  return peer == (rank + 1) % shape.ranks() ? 0 : 1;
}

/// Numbers every message of a schedule: 0 <= number < count(). Chunks must be of the shape.
class MessageNumbers {
 public:
  static constexpr std::int32_t kNone = -1;

  explicit MessageNumbers(const PipelineShape& shape)
      : shape_(shape),
        chunks_(shape.stages * shape.micro_batches),
        all_local_(shape.ranks() == 1),
        turn_(shape.kind == PipelineKind::dualpipe_v ? shape.stages / 2 - 1 : kNone) {}

  [[nodiscard]] std::int32_t count() const { return 2 * chunks_; }

  /// The message that brings a chunk's input or takes its output away; none where the model begins or ends,
  /// or where the stage beside it is on the same rank.
  [[nodiscard]] std::int32_t activation_in(StageBatch chunk) const {
    return chunk.stage == 0 || stays_after(chunk.stage - 1) ? kNone : index(before(chunk));
  }
  [[nodiscard]] std::int32_t activation_out(StageBatch chunk) const {
    return chunk.stage + 1 == shape_.stages || stays_after(chunk.stage) ? kNone : index(chunk);
  }
  /// The same of gradients: of its output, in; of its input, out.
  [[nodiscard]] std::int32_t gradient_in(StageBatch chunk) const {
    return activation_out(chunk) == kNone ? kNone : chunks_ + index(after(chunk));
  }
  [[nodiscard]] std::int32_t gradient_out(StageBatch chunk) const {
    return chunk.stage == 0 || stays_after(chunk.stage - 1) ? kNone : chunks_ + index(chunk);
  }
  /// What has to arrive before an action computes: the input of its forward, the gradient of its backward's
  /// output; none in place of what it does not need.
  [[nodiscard]] std::array<std::int32_t, 2> needed_by(const Action& action) const {
    const StageBatch* forward = action.forward_part();
    const StageBatch* backward = action.backward_part();
    return {forward == nullptr ? kNone : activation_in(*forward),
            backward == nullptr ? kNone : gradient_in(*backward)};
  }
  /// Of a send or a receive.
  [[nodiscard]] std::int32_t of(const Action& action) const {
    switch (action.kind) {
      case ActionKind::send_activation:
        return activation_out(action.chunk);
      case ActionKind::send_gradient:
        return gradient_out(action.chunk);
      case ActionKind::receive_activation:
        return activation_in(action.chunk);
      case ActionKind::receive_gradient:
        return gradient_in(action.chunk);
      default:
        return kNone;
    }
  }
  /// The rank at a message's other end, of the action's kind.
  [[nodiscard]] std::int32_t peer_of(const Action& action) const {
    const bool next =
        action.kind == ActionKind::send_activation || action.kind == ActionKind::receive_gradient;
    return shape_.rank_of(next ? after(action.chunk) : before(action.chunk));
  }
  /// What its receiver does about a message that `sender` sends so.
  static Action receive_of(const Action& send, std::int32_t sender);

  static StageBatch before(StageBatch chunk) { return stage_batch(chunk.stage - 1, chunk.micro_batch); }
  static StageBatch after(StageBatch chunk) { return stage_batch(chunk.stage + 1, chunk.micro_batch); }
  [[nodiscard]] std::int32_t index(StageBatch chunk) const {
    return chunk.stage * shape_.micro_batches + chunk.micro_batch;
  }

 private:
  /// The stage behind this one is on the same rank.
  [[nodiscard]] bool stays_after(std::int32_t stage) const { return all_local_ || stage == turn_; }

  PipelineShape shape_;
  std::int32_t chunks_;
  bool all_local_;
  std::int32_t turn_;  // DualPipeV: the last stage on the way down
};

/// Adds the sends and receives that an order of computing needs. What is computed is sent at once. A receive
/// is posted before the computation that comes before the one which needs it, so that the message travels
/// meanwhile; earlier where the sender's order asks for it, as receives are posted in the order of the sends.
PipelineSchedule with_messages(const PipelineShape& shape, const ComputeOrders& orders);

}  // namespace fathom
