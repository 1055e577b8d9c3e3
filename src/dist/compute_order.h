#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dist/pipeline_schedule.h"

namespace fathom {

// One generator per schedule: in which order each rank computes. Sends and receives follow from the order
// (dist/schedule_messages.h). Shapes are checked ones.

/// What one rank computes, in order.
class ComputeOrder {
 public:
  void forward(StageBatch chunk) { add(ActionKind::forward, chunk); }
  void backward(StageBatch chunk) { add(ActionKind::backward, chunk); }
  void backward_input(StageBatch chunk) { add(ActionKind::backward_input, chunk); }
  void backward_weight(StageBatch chunk) { add(ActionKind::backward_weight, chunk); }
  void forward_backward(StageBatch forward, StageBatch backward) {
    actions_.push_back({.kind = ActionKind::forward_backward, .chunk = forward, .backward_chunk = backward});
  }
  [[nodiscard]] const std::vector<Action>& actions() const { return actions_; }

 private:
  void add(ActionKind kind, StageBatch chunk) { actions_.push_back({.kind = kind, .chunk = chunk}); }

  std::vector<Action> actions_;
};
using ComputeOrders = std::vector<ComputeOrder>;  // [rank]

inline StageBatch stage_batch(std::int64_t stage, std::int64_t micro_batch) {
  return {static_cast<std::int16_t>(stage), static_cast<std::int16_t>(micro_batch)};
}

/// The rhythm of 1F1B and what comes from it: `forward(i)` for `ahead` turns i, then one forward and one
/// `backward(i)` by turns, until each has had `count` turns.
template <typename Forward, typename Backward>
void one_forward_one_backward(std::int64_t count, std::int64_t ahead, const Forward& forward,
                              const Backward& backward) {
  ahead = std::min(ahead, count);
  for (std::int64_t i = 0; i < ahead; ++i) forward(i);
  for (std::int64_t i = 0; i < count; ++i) {
    if (i + ahead < count) forward(i + ahead);
    backward(i);
  }
}

/// One forward, one backward (PipeDream-flush, arXiv 2006.09503): stages - rank forwards, then by turns.
ComputeOrders order_1f1b(const PipelineShape& shape);

/// 1F1B over v stages per rank (arXiv 2104.04473, section 2.2): micro-batches in groups of as many as there
/// are ranks, each group through all of a rank's stages before the next group. The last group need not be
/// full.
ComputeOrders order_interleaved(const PipelineShape& shape);
/// Its chunks in flight: what is taken forward up to the first backward.
std::int64_t interleaved_in_flight(const PipelineShape& shape, std::int32_t rank);

/// ZB-H1 (arXiv 2401.10241, section 2.3): 1F1B whose backward is split; a rank lets as many weight gradients
/// wait as there are stages before it, so that every rank has as many chunks in flight as 1F1B's first.
ComputeOrders order_zb1p(const PipelineShape& shape);

/// DualPipe (arXiv 2412.19437, section 3.2.1): micro-batches from both ends.
ComputeOrders order_dualpipe(const PipelineShape& shape);

/// DualPipeV: DualPipe's first half of the ranks, whose reverse direction is the same micro-batches' second
/// half of the stages.
ComputeOrders order_dualpipe_v(const PipelineShape& shape);

}  // namespace fathom
