#include "dist/schedule_messages.h"

#include <array>

namespace fathom {
namespace {

/// Sends in their order, [rank][side].
using Outboxes = std::vector<std::array<std::vector<Action>, 2>>;

/// Calls `visit` with each send that follows a computation: activation before gradient.
template <typename Visit>
void for_each_send(const MessageNumbers& numbers, const Action& action, const Visit& visit) {
  const auto send = [&](ActionKind kind, StageBatch chunk) {
    Action made = {.kind = kind, .chunk = chunk};
    if (numbers.of(made) == MessageNumbers::kNone) return;
    made.peer = static_cast<std::int16_t>(numbers.peer_of(made));
    visit(made);
  };
  if (const StageBatch* chunk = action.forward_part()) send(ActionKind::send_activation, *chunk);
  if (const StageBatch* chunk = action.backward_part()) send(ActionKind::send_gradient, *chunk);
}

Outboxes outboxes_of(const PipelineShape& shape, const MessageNumbers& numbers, const ComputeOrders& orders) {
  Outboxes outboxes(orders.size());
  for (std::size_t rank = 0; rank < orders.size(); ++rank)
    for (const Action& action : orders[rank].actions())
      for_each_send(numbers, action, [&](const Action& send) {
        outboxes[rank][side_of(shape, static_cast<std::int32_t>(rank), send.peer)].push_back(send);
      });
  return outboxes;
}

/// Writes one rank's list.
class ListWriter {
 public:
  ListWriter(const PipelineShape& shape, const MessageNumbers& numbers, const Outboxes& outboxes,
             std::vector<char>& posted, std::int32_t rank)
      : shape_(shape), numbers_(numbers), outboxes_(outboxes), posted_(posted), rank_(rank) {}

  std::vector<Action> write(const std::vector<Action>& order) {
    list_.reserve(3 * order.size());
    if (!order.empty()) receive_for(order.front());
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i + 1 < order.size()) receive_for(order[i + 1]);
      list_.push_back(order[i]);
      for_each_send(numbers_, order[i], [&](const Action& send) { list_.push_back(send); });
    }
    return std::move(list_);
  }

 private:
  void receive_for(const Action& action) {
    if (const StageBatch* chunk = action.forward_part())
      receive({ActionKind::receive_activation, -1, *chunk, {}});
    if (const StageBatch* chunk = action.backward_part())
      receive({ActionKind::receive_gradient, -1, *chunk, {}});
  }

  /// Posts what its sender sends up to this message.
  void receive(const Action& wanted) {
    const std::int32_t message = numbers_.of(wanted);
    if (message == MessageNumbers::kNone) return;
    const std::int32_t sender = numbers_.peer_of(wanted);
    const std::size_t side = side_of(shape_, sender, rank_);
    const std::vector<Action>& outbox = outboxes_[static_cast<std::size_t>(sender)][side];
    std::size_t& taken = taken_[side];
    while (posted_[static_cast<std::size_t>(message)] == 0) {
      const Action& send = outbox.at(taken++);
      posted_[static_cast<std::size_t>(numbers_.of(send))] = 1;
      list_.push_back(MessageNumbers::receive_of(send, sender));
    }
  }

  const PipelineShape& shape_;
  const MessageNumbers& numbers_;
  const Outboxes& outboxes_;
  std::vector<char>& posted_;  // [message]
  std::int32_t rank_;
  std::array<std::size_t, 2> taken_ = {};  // of the outbox of the rank before, of the one after
  std::vector<Action> list_;
};

}  // namespace

Action MessageNumbers::receive_of(const Action& send, std::int32_t sender) {
  const bool gradient = send.kind == ActionKind::send_gradient;
  return {.kind = gradient ? ActionKind::receive_gradient : ActionKind::receive_activation,
          .peer = static_cast<std::int16_t>(sender),
          .chunk = gradient ? before(send.chunk) : after(send.chunk)};
}

PipelineSchedule with_messages(const PipelineShape& shape, const ComputeOrders& orders) {
  const MessageNumbers numbers(shape);
  const Outboxes outboxes = outboxes_of(shape, numbers, orders);
  std::vector<char> posted(static_cast<std::size_t>(numbers.count()), 0);
  PipelineSchedule schedule{.shape = shape, .actions = {}};
  for (std::size_t rank = 0; rank < orders.size(); ++rank)
    schedule.actions.push_back(ListWriter(shape, numbers, outboxes, posted, static_cast<std::int32_t>(rank))
                                   .write(orders[rank].actions()));
  return schedule;
}

}  // namespace fathom
