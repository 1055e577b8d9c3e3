#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "infer/answer.h"
#include "infer/answer_builder.h"
#include "infer/cache_ledger.h"
#include "infer/step_plan.h"

namespace fathom {

/// So many requests wait that no more are taken: try again later.
class QueueIsFull : public Error {
 public:
  using Error::Error;
};

/// The engine takes no requests any more.
class EngineHasEnded : public Error {
 public:
  using Error::Error;
};

/// How a request ended: with an answer, or (then `error` says why) without.
struct Outcome {
  Answer answer;
  std::string error;
};

/// A request on its way through the engine. Whoever asked keeps it to cancel it; all else is the engine's, of
/// one thread at a time.
struct EngineRequest {
  SequenceId id = 0;
  std::vector<std::int32_t> tokens;  // the prompt, and the answer as far as it goes
  std::int64_t prompt_tokens = 0;
  GenerationOptions options;
  AnswerLimit limit;
  AnswerBuilder::OnText on_text;
  std::function<void(Outcome)> on_end;  // called once

  std::atomic<bool> is_cancelled = false;

  std::unique_ptr<AnswerBuilder> answer;  // from the time on that its prompt is read
  CacheSeat prefill_seat;                 // where caches travel, until its own has arrived
  CacheSeat decode_seat;

  [[nodiscard]] std::int64_t positions() const { return cache_positions(prompt_tokens, limit); }
};

}  // namespace fathom
