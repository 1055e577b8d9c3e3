#include "infer/step_plan.h"

#include "dist/messages.h"

namespace fathom {
namespace {

std::vector<std::byte> bytes_of(const MessageWriter& message) {
  return {message.bytes().begin(), message.bytes().end()};
}

void put(MessageWriter& message, const GrammarRequest& grammar) {
  message.put(grammar.kind);
  message.put(std::vector<char>(grammar.text.begin(), grammar.text.end()));
  message.put(grammar.ignores_unenforceable);
}

void get(MessageReader& message, GrammarRequest& grammar) {
  std::vector<char> text;
  message.get(grammar.kind);
  message.get(text);
  message.get(grammar.ignores_unenforceable);
  grammar.text.assign(text.begin(), text.end());
}

std::size_t count_of(MessageReader& message) {
  std::size_t count = 0;
  message.get(count);
  return count;
}

}  // namespace

std::vector<std::byte> pack(const StepPlan& plan) {
  MessageWriter message;
  message.put(plan.is_end);
  message.put(plan.waits_for_caches);
  message.put(plan.tokens_of_rank);
  message.put(plan.trim);
  message.put(plan.drop);
  message.put(plan.orders.size());
  for (const PageOrder& order : plan.orders) {
    message.put(order.kind);
    message.put(order.page);
    message.put(order.source);
    message.put(order.bytes);
  }
  message.put(plan.begin.size());
  for (const NewSequence& sequence : plan.begin) {
    message.put(sequence.id);
    message.put(sequence.sampling);
    put(message, sequence.grammar);
    message.put(sequence.send_to);
    message.put(sequence.receive_from);
    message.put(sequence.prompt);
  }
  message.put(plan.seat.size());
  for (const StepPlan::Seat& seat : plan.seat) {
    message.put(seat.id);
    message.put(seat.pages);
    message.put(seat.held);
  }
  message.put(plan.pause);
  message.put(plan.run);
  return bytes_of(message);
}

StepPlan unpack_plan(std::span<const std::byte> bytes) {
  MessageReader message(bytes);
  StepPlan plan;
  message.get(plan.is_end);
  message.get(plan.waits_for_caches);
  message.get(plan.tokens_of_rank);
  message.get(plan.trim);
  message.get(plan.drop);
  for (std::size_t i = 0, orders = count_of(message); i < orders; ++i) {
    PageOrder& order = plan.orders.emplace_back();
    message.get(order.kind);
    message.get(order.page);
    message.get(order.source);
    message.get(order.bytes);
  }
  for (std::size_t i = 0, sequences = count_of(message); i < sequences; ++i) {
    NewSequence& sequence = plan.begin.emplace_back();
    message.get(sequence.id);
    message.get(sequence.sampling);
    get(message, sequence.grammar);
    message.get(sequence.send_to);
    message.get(sequence.receive_from);
    message.get(sequence.prompt);
  }
  for (std::size_t i = 0, seats = count_of(message); i < seats; ++i) {
    StepPlan::Seat& seat = plan.seat.emplace_back();
    message.get(seat.id);
    message.get(seat.pages);
    message.get(seat.held);
  }
  message.get(plan.pause);
  message.get(plan.run);
  return plan;
}

std::vector<std::byte> pack(const StepResult& result) {
  MessageWriter message;
  message.put(result.tokens);
  message.put(result.drafts);
  message.put(result.sent);
  message.put(result.spilled.size());
  for (const std::vector<std::byte>& page : result.spilled) message.put(page);
  return bytes_of(message);
}

StepResult unpack_result(std::span<const std::byte> bytes) {
  MessageReader message(bytes);
  StepResult result;
  message.get(result.tokens);
  message.get(result.drafts);
  message.get(result.sent);
  for (std::size_t i = 0, pages = count_of(message); i < pages; ++i)
    message.get(result.spilled.emplace_back());
  return result;
}

}  // namespace fathom
