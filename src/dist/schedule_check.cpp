#include "dist/schedule_check.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "dist/schedule_messages.h"
#include "dist/schedule_replay.h"

namespace fathom {
namespace {

/// What a rank has done about a chunk so far.
enum ChunkMark : std::uint8_t {
  kForward = 1,
  kInputGradient = 2,
  kWeightGradient = 4,
  kActivationReceived = 8,
  kGradientReceived = 16,
  kActivationSent = 32,
  kGradientSent = 64,
};

/// Walks the lists rank by rank and looks at everything but whether ranks wait for one another for ever.
class ListChecker {
 public:
  explicit ListChecker(const PipelineSchedule& schedule)
      : schedule_(schedule),
        shape_(schedule.shape),
        numbers_(shape_),
        marks_(static_cast<std::size_t>(numbers_.count() / 2), 0),
        places_(static_cast<std::size_t>(numbers_.count()), 0),
        neighbours_(schedule.actions.size()) {}

  std::vector<RankLoad> run() {
    std::vector<RankLoad> loads;
    for (rank_ = 0; rank_ < schedule_.actions.size(); ++rank_) loads.push_back(check_rank());
    check_all_done();
    return loads;
  }

 private:
  /// Messages so far between a rank and its two neighbours.
  struct Neighbours {
    std::array<std::int32_t, 2> sent = {};
    std::array<std::int32_t, 2> received = {};
  };

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}, rank {}, action {} ({}): {}", pipeline_kind_title(shape_.kind), rank_, at_,
         action_text(schedule_.actions[rank_][at_]), fmt::vformat(format, fmt::make_format_args(args...)));
  }

  RankLoad check_rank() {
    load_ = {};
    in_flight_ = 0;
    waiting_ = 0;
    most_in_flight_ = most_in_flight(shape_, static_cast<std::int32_t>(rank_));
    const std::vector<Action>& list = schedule_.actions[rank_];
    for (at_ = 0; at_ < list.size(); ++at_) {
      check(list[at_]);
      load_.waiting_weights = std::max(load_.waiting_weights, waiting_);
    }
    return load_;
  }

  void check(const Action& action) {
    if (action.kind > ActionKind::receive_gradient) refuse("there is no such kind of action");
    check_owner(action.chunk);
    if (action.kind == ActionKind::forward_backward) {
      check_owner(action.backward_chunk);
      if (action.chunk == action.backward_chunk) refuse("a backward cannot overlap its own forward");
    }
    if (!action.computes()) {
      check_message(action);
      return;
    }
    if (const StageBatch* chunk = action.forward_part()) check_forward(*chunk);
    if (const StageBatch* chunk = action.backward_part()) check_input_gradient(*chunk);
    if (const StageBatch* chunk = action.weight_part()) check_weight_gradient(*chunk);
  }

  void check_owner(StageBatch chunk) const {
    if (!shape_.has(chunk))
      refuse("there are {} stages and {} micro-batches", shape_.stages, shape_.micro_batches);
    if (shape_.rank_of(chunk) != static_cast<std::int32_t>(rank_))
      refuse("stage {} of micro-batch {} is on rank {}", chunk.stage, chunk.micro_batch,
             shape_.rank_of(chunk));
  }

  void check_forward(StageBatch chunk) {
    mark_once(chunk, kForward, "its forward has run already");
    if (numbers_.activation_in(chunk) != MessageNumbers::kNone) {
      need(chunk, kActivationReceived, "its input has not been received: post the receive before it");
    } else if (chunk.stage > 0) {
      need(MessageNumbers::before(chunk), kForward, "the stage before has not run: run it first");
    }
    load_.in_flight = std::max(load_.in_flight, ++in_flight_);
    if (in_flight_ > most_in_flight_)
      refuse("it is chunk {} in flight, the schedule's limit is {}: finish another one first", in_flight_,
             most_in_flight_);
  }

  void check_input_gradient(StageBatch chunk) {
    mark_once(chunk, kInputGradient, "its backward has run already");
    need(chunk, kForward, "its forward has not run: run it first");
    if (numbers_.gradient_in(chunk) != MessageNumbers::kNone) {
      need(chunk, kGradientReceived, "its gradient has not been received: post the receive before it");
    } else if (chunk.stage + 1 < shape_.stages) {
      need(MessageNumbers::after(chunk), kInputGradient,
           "the stage behind has not run backward: run it first");
    }
    ++waiting_;
  }

  void check_weight_gradient(StageBatch chunk) {
    mark_once(chunk, kWeightGradient, "its weight gradient is complete already");
    need(chunk, kInputGradient, "its input gradient is not computed: run the input backward first");
    --in_flight_;
    --waiting_;
  }

  void check_message(const Action& action) {
    const std::int32_t message = numbers_.of(action);
    if (message == MessageNumbers::kNone) refuse("no other rank holds the stage on its other side");
    const std::int32_t peer = numbers_.peer_of(action);
    if (action.peer != peer) refuse("the stage on its other side is on rank {}", peer);
    const std::size_t side = side_of(shape_, static_cast<std::int32_t>(rank_), peer);
    Neighbours& neighbours = neighbours_[rank_];
    switch (action.kind) {
      case ActionKind::send_activation:
        mark_once(action.chunk, kActivationSent, "it has been sent already");
        need(action.chunk, kForward, "its forward has not run: run it first");
        break;
      case ActionKind::send_gradient:
        mark_once(action.chunk, kGradientSent, "it has been sent already");
        need(action.chunk, kInputGradient, "its backward has not run: run it first");
        break;
      case ActionKind::receive_activation:
        mark_once(action.chunk, kActivationReceived, "it has been received already");
        break;
      default:
        mark_once(action.chunk, kGradientReceived, "it has been received already");
        break;
    }
    agree_on_place(message, ++(action.sends() ? neighbours.sent : neighbours.received)[side]);
  }

  /// Sender and receiver both count the messages between them: the second to come compares.
  void agree_on_place(std::int32_t message, std::int32_t place) {
    std::int32_t& known = places_[static_cast<std::size_t>(message)];
    if (known == 0) known = place;
    if (known != place)
      refuse("it is message {} between the two ranks here and message {} there: keep the sender's order",
             place, known);
  }

  void mark_once(StageBatch chunk, ChunkMark mark, std::string_view otherwise) {
    std::uint8_t& marks = marks_[static_cast<std::size_t>(numbers_.index(chunk))];
    if ((marks & mark) != 0) refuse("{}", otherwise);
    marks |= mark;
  }

  void need(StageBatch chunk, ChunkMark mark, std::string_view otherwise) const {
    if ((marks_[static_cast<std::size_t>(numbers_.index(chunk))] & mark) == 0) refuse("{}", otherwise);
  }

  void check_all_done() const {
    for (std::int32_t stage = 0; stage < shape_.stages; ++stage)
      for (std::int32_t batch = 0; batch < shape_.micro_batches; ++batch)
        check_done(stage_batch(stage, batch));
  }

  /// Nothing of a chunk is missing. (A backward without a forward has been refused before.)
  void check_done(StageBatch chunk) const {
    const std::uint8_t marks = marks_[static_cast<std::size_t>(numbers_.index(chunk))];
    const auto require_mark = [&](bool applies, ChunkMark mark, ActionKind kind) {
      if (applies && (marks & mark) == 0)
        fail("{}, rank {}, action {} (end of the list): the {} of micro-batch {} on stage {} is missing",
             pipeline_kind_title(shape_.kind), shape_.rank_of(chunk),
             schedule_.actions[static_cast<std::size_t>(shape_.rank_of(chunk))].size(),
             action_kind_name(kind), chunk.micro_batch, chunk.stage);
    };
    require_mark(true, kForward, ActionKind::forward);
    require_mark(true, kInputGradient, ActionKind::backward);
    require_mark(true, kWeightGradient, ActionKind::backward_weight);
    require_mark(numbers_.activation_out(chunk) != MessageNumbers::kNone, kActivationSent,
                 ActionKind::send_activation);
    require_mark(numbers_.gradient_out(chunk) != MessageNumbers::kNone, kGradientSent,
                 ActionKind::send_gradient);
  }

  const PipelineSchedule& schedule_;
  const PipelineShape& shape_;
  MessageNumbers numbers_;
  std::vector<std::uint8_t> marks_;     // [stage, micro_batch] of ChunkMark
  std::vector<std::int32_t> places_;    // [message] which one between its two ranks, from 1; 0: not met yet
  std::vector<Neighbours> neighbours_;  // [rank]
  std::size_t rank_ = 0;
  std::size_t at_ = 0;
  RankLoad load_;
  std::int64_t in_flight_ = 0;
  std::int64_t most_in_flight_ = 0;
  std::int64_t waiting_ = 0;  // input gradient computed, weight gradient not
};

/// Each rank's list can be run to its end.
void check_progress(const PipelineSchedule& schedule) {
  const std::vector<std::size_t> ends = replay_schedule(schedule, [](std::size_t, std::size_t) {});
  for (std::size_t rank = 0; rank < ends.size(); ++rank) {
    const std::vector<Action>& list = schedule.actions[rank];
    if (ends[rank] == list.size()) continue;
    fail("{}, rank {}, action {} ({}): deadlock: what it waits for is sent by no rank that can go on",
         pipeline_kind_title(schedule.shape.kind), rank, ends[rank], action_text(list[ends[rank]]));
  }
}

}  // namespace

std::vector<RankLoad> check_schedule(const PipelineSchedule& schedule) {
  check_shape(schedule.shape);
  require(schedule.actions.size() == static_cast<std::size_t>(schedule.shape.ranks()),
          "{}: lists for {} ranks, {} stages need {}", pipeline_kind_title(schedule.shape.kind),
          schedule.actions.size(), schedule.shape.stages, schedule.shape.ranks());
  std::vector<RankLoad> loads = ListChecker(schedule).run();
  check_progress(schedule);
  return loads;
}

}  // namespace fathom
