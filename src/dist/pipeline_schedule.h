#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

// A pipeline schedule as data: for each rank the ordered list of what it does in one step. `fathom plan`
// draws the list and `fathom train` executes it. Every list is checked before it is used
// (dist/schedule_check.h).
//
// How a list is executed. A rank takes its actions one after another:
//  - `receive_*` posts a receive, `send_*` a send of what the rank has computed, and both go on;
//  - what computes first waits for the messages that it needs (its own receives, posted earlier), then
//  computes;
//  - after its last action a rank waits for what it has posted.
// A rank thus waits only for messages, never for a peer to take one, so that nothing changes where a send
// ends only when its receive is posted (rendezvous). Between two ranks, each way, receives are posted in the
// order of the sends: no tags are needed. Sends and receives that stand next to one another may be posted as
// one group.

enum class PipelineKind : std::uint8_t { one_f_one_b, interleaved, zb1p, dualpipe, dualpipe_v };
inline constexpr std::array kPipelineKinds = {PipelineKind::one_f_one_b, PipelineKind::interleaved,
                                              PipelineKind::zb1p, PipelineKind::dualpipe,
                                              PipelineKind::dualpipe_v};

/// "1f1b", "interleaved", "zb1p", "dualpipe", "dualpipev": as commands and configs say it.
std::string_view pipeline_kind_name(PipelineKind kind);
/// "1F1B", "DualPipe": as texts say it.
std::string_view pipeline_kind_title(PipelineKind kind);
std::optional<PipelineKind> pipeline_kind_named(std::string_view name);

/// One micro-batch on one stage.
struct StageBatch {
  std::int16_t stage = -1;
  std::int16_t micro_batch = -1;

  bool operator==(const StageBatch&) const = default;
};

/// What decides a schedule. Stages are the pieces that the model is cut into, each micro-batch going through
/// all of them; where they lie:
///  - 1F1B, ZB1P: stage s on rank s;
///  - interleaved: stage s on rank s mod ranks, a rank's stages being its slots;
///  - DualPipe: each stage twice, on rank s for the first half of the micro-batches (slot 0), which go from
///    rank 0 to the last, and on rank stages-1-s for the other half (slot 1), which go the other way;
///  - DualPipeV: half as many ranks as stages; stage s and stage stages-1-s on rank s, slots 0 and 1.
struct PipelineShape {
  PipelineKind kind = PipelineKind::one_f_one_b;
  std::int32_t stages = 1;
  std::int32_t micro_batches = 1;
  std::int32_t stages_per_rank = 1;  // interleaved: how many each rank holds; elsewhere the kind decides

  [[nodiscard]] std::int32_t ranks() const {
    switch (kind) {
      case PipelineKind::interleaved:
        return stages / stages_per_rank;
      case PipelineKind::dualpipe_v:
        return stages / 2;
      default:
        return stages;
    }
  }
  /// Pieces of the model that a rank holds.
  [[nodiscard]] std::int32_t slots() const;
  [[nodiscard]] std::int32_t rank_of(StageBatch chunk) const {
    switch (kind) {
      case PipelineKind::interleaved:
        return chunk.stage % ranks();
      case PipelineKind::dualpipe:
        return chunk.micro_batch < micro_batches / 2 ? chunk.stage : stages - 1 - chunk.stage;
      case PipelineKind::dualpipe_v:
        return chunk.stage < stages / 2 ? chunk.stage : stages - 1 - chunk.stage;
      default:
        return chunk.stage;
    }
  }
  /// Which of its rank's pieces computes the chunk.
  [[nodiscard]] std::int32_t slot_of(StageBatch chunk) const;
  /// Both numbers are of this shape.
  [[nodiscard]] bool has(StageBatch chunk) const {
    return chunk.stage >= 0 && chunk.stage < stages && chunk.micro_batch >= 0 &&
           chunk.micro_batch < micro_batches;
  }
};

/// The fewest micro-batches, so many or more, that a schedule of the kind takes with so many stages.
std::int64_t fitting_micro_batches(PipelineKind kind, std::int64_t stages, std::int64_t at_least = 1);

/// Throws `Error` where no such schedule exists: sizes out of range (4,096 stages, 4 million chunks), or
/// numbers that the kind cannot take.
void check_shape(const PipelineShape& shape);

enum class ActionKind : std::uint8_t {
  forward,
  backward,        // gradients of inputs and of weights
  backward_input,  // of inputs alone; `backward_weight` follows later
  backward_weight,
  forward_backward,    // the forward of one chunk and the whole backward of another, overlapped
  send_activation,     // the output of the chunk's forward, to the rank that holds the next stage
  send_gradient,       // of the chunk's input, to the rank that holds the stage before
  receive_activation,  // the chunk's input
  receive_gradient,    // of the chunk's output
};

/// One thing that a rank does. All chunks are the rank's own: an activation that rank 0 sends as the output
/// of stage 0 is received on rank 1 as the input of stage 1.
struct Action {
  ActionKind kind = ActionKind::forward;
  std::int16_t peer = -1;          // sends and receives: the other rank
  StageBatch chunk = {};           // of `forward_backward`: whose forward it is
  StageBatch backward_chunk = {};  // of `forward_backward` alone

  bool operator==(const Action&) const = default;

  [[nodiscard]] bool computes() const { return kind <= ActionKind::forward_backward; }
  [[nodiscard]] bool sends() const {
    return kind == ActionKind::send_activation || kind == ActionKind::send_gradient;
  }
  [[nodiscard]] bool receives() const { return kind >= ActionKind::receive_activation; }
  /// The chunk whose forward it runs, if any.
  [[nodiscard]] const StageBatch* forward_part() const {
    return kind == ActionKind::forward || kind == ActionKind::forward_backward ? &chunk : nullptr;
  }
  /// The chunk whose input gradient it computes, if any.
  [[nodiscard]] const StageBatch* backward_part() const {
    if (kind == ActionKind::forward_backward) return &backward_chunk;
    return kind == ActionKind::backward || kind == ActionKind::backward_input ? &chunk : nullptr;
  }
  /// The chunk whose weight gradient it computes, if any.
  [[nodiscard]] const StageBatch* weight_part() const {
    if (kind == ActionKind::forward_backward) return &backward_chunk;
    return kind == ActionKind::backward || kind == ActionKind::backward_weight ? &chunk : nullptr;
  }
};

/// "forward", "send activation": what a kind is called.
std::string_view action_kind_name(ActionKind kind);
/// "send activation of micro-batch 3 on stage 2 to rank 3".
std::string action_text(const Action& action);

struct PipelineSchedule {
  PipelineShape shape;
  std::vector<std::vector<Action>> actions;  // [rank][position]
};

/// The schedule of that shape: checked by `check_shape` alone, see dist/schedule_check.h.
PipelineSchedule make_schedule(const PipelineShape& shape);

/// Most chunks in flight on a rank at once: a chunk is in flight from the beginning of its forward to the end
/// of its weight gradient. Counted in stages' activations; for interleaved schedules a stage is a v-th part
/// of a rank.
///
///     1F1B          stages - rank     (all micro-batches, where they are fewer; so everywhere)
///     interleaved   2 (ranks-rank-1) + (v-1) ranks + 1
///     ZB1P          stages
///     DualPipe, -V  stages + 1
std::int64_t most_in_flight(const PipelineShape& shape, std::int32_t rank);

}  // namespace fathom
