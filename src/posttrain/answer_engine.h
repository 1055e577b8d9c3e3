#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "dist/communicator.h"
#include "infer/engine.h"
#include "infer/serving_rank.h"
#include "infer/text_model.h"
#include "model/transformer.h"

namespace fathom {

/// A prompt to be answered, and how long the model may think about it.
struct AnswerRequest {
  std::size_t id = 0;  // the caller's
  std::vector<std::int32_t> prompt;
  GenerationOptions options;
  std::string prefix;             // text at the end of the prompt that is part of the answer, as "<think>\n"
  std::int64_t think_tokens = 0;  // 0: as many as it likes
};

/// An answer, its request's prefix included.
struct GivenAnswer {
  std::size_t id = 0;
  std::string text;
  std::int64_t tokens = 0;
  StopReason reason = StopReason::end_of_text;
  bool was_cut = false;  // its thinking
  /// What the model chose and was given after the prompt, with the end-of-text token where that ended it.
  std::vector<std::int32_t> ids = {};
};

struct AnswerEngineOptions {
  std::int64_t at_once = 16;                // requests under way
  std::uint64_t cache_bytes = 2ULL << 30U;  // latent caches of them take at most this
  LatentType cache_type = LatentType::f16;
};

/// Answers many prompts in this process, some at a time in batches (`Engine`).
///
/// A request with a thinking budget that has not closed its think block after so many tokens is given
/// "\n</think>\n\n" as if it had written it, and answers from there. It comes back to the engine as a longer
/// prompt, whose latents are shared with what was read already.
class AnswerEngine {
 public:
  /// Keeps references. Throws `Error` where the memory for caches is too small for a page.
  AnswerEngine(ThreadPool& pool, const TextModel& model, const Transformer& transformer,
               const AnswerEngineOptions& options);
  ~AnswerEngine();
  AnswerEngine(const AnswerEngine&) = delete;
  AnswerEngine& operator=(const AnswerEngine&) = delete;

  /// Tokens that prompt and answer may have together.
  [[nodiscard]] std::int64_t max_positions() const { return model_.config.max_position_embeddings; }

  /// Answers what `next` gives until it gives nothing, and calls `on_answer` with each as it is done; both on
  /// this thread. Throws `Error` where a prompt cannot be answered or the model fails.
  /// @param goes_on  asked between answers, some times a second; false: those under way are given up
  void answer_all(const std::function<std::optional<AnswerRequest>()>& next,
                  const std::function<void(GivenAnswer)>& on_answer, const std::function<bool()>& goes_on);

 private:
  class Round;

  const TextModel& model_;
  std::int64_t at_once_;
  ServingLayout layout_;
  std::unique_ptr<Communicator> job_;
  std::unique_ptr<ServingRank> rank_;
  std::unique_ptr<GrammarCompiler> grammars_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace fathom
