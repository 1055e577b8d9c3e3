#pragma once

#include <cstddef>
#include <vector>

#include "dist/schedule_messages.h"

namespace fathom {

/// Runs all ranks' lists as far as they go, a rank stopping only at a computation whose message has not been
/// sent. Each action is visited after everything that it needs, as `visit(rank, position)`. Where a list ends
/// does not depend on the ranks' speeds: no rank ever chooses between messages, so one order of running them
/// stands for all. The cost is that of the number of actions.
/// @param schedule  every chunk and peer is of its shape
/// @return  [rank] the first action that could not run; a list's size where it ran to its end
template <typename Visit>
std::vector<std::size_t> replay_schedule(const PipelineSchedule& schedule, const Visit& visit) {
  const MessageNumbers numbers(schedule.shape);
  const std::size_t ranks = schedule.actions.size();
  std::vector<char> sent(static_cast<std::size_t>(numbers.count()), 0);
  std::vector<std::size_t> position(ranks, 0);
  std::vector<std::int32_t> awaited(ranks, MessageNumbers::kNone);
  std::vector<std::size_t> ready;
  for (std::size_t rank = ranks; rank > 0; --rank) ready.push_back(rank - 1);

  const auto missing = [&](std::int32_t message) {
    return message != MessageNumbers::kNone && sent[static_cast<std::size_t>(message)] == 0;
  };
  const auto first_missing = [&](const Action& action) {
    for (const std::int32_t message : numbers.needed_by(action))
      if (missing(message)) return message;
    return MessageNumbers::kNone;
  };
  const auto send = [&](const Action& action) {
    const std::int32_t message = numbers.of(action);
    if (message == MessageNumbers::kNone) return;
    sent[static_cast<std::size_t>(message)] = 1;
    const auto peer = static_cast<std::size_t>(action.peer);
    if (awaited[peer] != message) return;
    awaited[peer] = MessageNumbers::kNone;
    ready.push_back(peer);
  };

  while (!ready.empty()) {
    const std::size_t rank = ready.back();
    ready.pop_back();
    const std::vector<Action>& list = schedule.actions[rank];
    for (std::size_t& at = position[rank]; at < list.size(); ++at) {
      if (list[at].computes()) awaited[rank] = first_missing(list[at]);
      if (awaited[rank] != MessageNumbers::kNone) break;
      if (list[at].sends()) send(list[at]);
      visit(rank, at);
    }
  }
  return position;
}

}  // namespace fathom
