#include "infer/step_plan.h"

#include "dist/messages.h"

namespace fathom {
namespace {

std::vector<std::byte> bytes_of(const MessageWriter& message) {
  return {message.bytes().begin(), message.bytes().end()};
}

}  // namespace

std::vector<std::byte> pack(const StepPlan& plan) {
  MessageWriter message;
  message.put(plan.is_end);
  message.put(plan.waits_for_caches);
  message.put(plan.tokens_of_rank);
  message.put(plan.drop);
  message.put(plan.begin.size());
  for (const NewSequence& sequence : plan.begin) {
    message.put(sequence.id);
    message.put(sequence.capacity);
    message.put(sequence.sampling);
    message.put(sequence.send_to);
    message.put(sequence.receive_from);
    message.put(sequence.prompt);
  }
  message.put(plan.run);
  return bytes_of(message);
}

StepPlan unpack_plan(std::span<const std::byte> bytes) {
  MessageReader message(bytes);
  StepPlan plan;
  message.get(plan.is_end);
  message.get(plan.waits_for_caches);
  message.get(plan.tokens_of_rank);
  message.get(plan.drop);
  std::size_t sequences = 0;
  message.get(sequences);
  for (std::size_t i = 0; i < sequences; ++i) {
    NewSequence& sequence = plan.begin.emplace_back();
    message.get(sequence.id);
    message.get(sequence.capacity);
    message.get(sequence.sampling);
    message.get(sequence.send_to);
    message.get(sequence.receive_from);
    message.get(sequence.prompt);
  }
  message.get(plan.run);
  return plan;
}

std::vector<std::byte> pack(const StepResult& result) {
  MessageWriter message;
  message.put(result.tokens);
  message.put(result.sent);
  return bytes_of(message);
}

StepResult unpack_result(std::span<const std::byte> bytes) {
  MessageReader message(bytes);
  StepResult result;
  message.get(result.tokens);
  message.get(result.sent);
  return result;
}

}  // namespace fathom
