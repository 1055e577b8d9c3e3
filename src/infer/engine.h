#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "dist/communicator.h"
#include "infer/cache_ledger.h"
#include "infer/engine_request.h"
#include "infer/group_conductor.h"
#include "infer/prefix_tiers.h"
#include "infer/sequence_runner.h"
#include "infer/serving_rank.h"
#include "model/transformer.h"
#include "text/tokenizer.h"

namespace fathom {

struct EngineOptions {
  std::int64_t step_tokens = 512;  // of each rank in one step, prompts' chunks included
  CacheOptions cache;              // of each rank
  std::size_t max_waiting = 64;    // requests that wait for room
  PrefixTiers* tiers = nullptr;    // where prefixes go that there is no room for; null: nowhere
};

/// Answers many requests at once with continuous batching: each step takes a token of every answer and some
/// of the prompts, and requests come and go between steps. A request is let in when there are pages for its
/// prompt, in the order in which they came, and gets more as its answer grows. Where there are none, the
/// youngest one gives its pages up and waits; later its latents are computed again, and its answer goes on as
/// if nothing had been. Prompts that begin as other texts did share their pages (`CacheBook`).
///
/// On several ranks each sequence lives on one (attention is data-parallel; `CacheLedger` says which), while
/// experts are spread over all (model/expert_peers.h). This is the leader's side, on rank 0; the others
/// `ServingRank::follow`. Where prompts are read by ranks of their own
/// (`ServingLayout::is_disaggregated`), caches travel from those to the others, and each group steps at its
/// own pace: answers go on while a long prompt is read.
///
/// Where the runner speculates, each answer gets drafts as far as they pay beside all others; they have pages
/// that nobody else needs, for the step alone.
///
/// Greedy answers are `Generator`'s, and sampled ones too, but for the rounding of f32.
class Engine {
 public:
  using Request = GroupConductor::Request;

  /// Keeps references.
  /// @param runner       of this rank
  /// @param end_of_text  tokens that end an answer
  /// @param on_failure   called once, from a thread of the engine, if it cannot go on
  Engine(Communicator& job, const ServingLayout& layout, SequenceRunner& runner, const Transformer& model,
         const Tokenizer& tokenizer, std::vector<std::int64_t> end_of_text, const EngineOptions& options,
         std::function<void(std::exception_ptr)> on_failure = {});
  /// Cancels what is under way, and ends the other ranks' steps.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Any thread may call these; they return at once.

  /// Throws `Error` where the request can never be answered or its grammar is wrong, `UsageError` for an
  /// option out of range, `QueueIsFull`, and `EngineHasEnded`.
  /// @param on_text  see `AnswerBuilder::OnText`; may be empty
  /// @param on_end   called once; both from a thread of the engine, which waits for them: they must be quick
  ///                 and must not throw
  Request submit(std::vector<std::int32_t> prompt, const GenerationOptions& options,
                 AnswerBuilder::OnText on_text, std::function<void(Outcome)> on_end);
  /// The request ends soon, with what it has.
  void cancel(const Request& request);

  /// Takes no more requests, and waits until those under way have ended.
  void drain();

  /// Requests under way, and those of them that wait to be let in.
  [[nodiscard]] std::size_t under_way() const;
  [[nodiscard]] std::size_t waiting() const { return prefill_->waiting(); }
  /// Tokens of prompts so far, and those of them that were cached already.
  [[nodiscard]] CacheHits hits() const { return ledger_.hits(); }
  /// Where prefixes go that there is no room for; null: nowhere.
  [[nodiscard]] const PrefixTiers* tiers() const { return options_.tiers; }
  /// What speculation did for answers that have ended.
  [[nodiscard]] SpeculationStats speculation() const;

 private:
  GroupConductor::Setup setup_for(const RankRange& ranks, SequenceRunner& runner);
  void has_ended(const EngineRequest& request);

  Communicator& job_;
  const Transformer& model_;
  const Tokenizer& tokenizer_;
  std::vector<std::int64_t> end_of_text_;
  EngineOptions options_;
  CacheLedger ledger_;
  std::function<void(std::exception_ptr)> on_failure_;
  GrammarCompiler* grammars_;  // null: no answer has a grammar

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  // Guarded by it.
  SequenceId next_id_ = 1;
  std::map<SequenceId, std::weak_ptr<EngineRequest>> under_way_;
  SpeculationStats speculation_;
  bool is_draining_ = false;

  std::unique_ptr<GroupConductor> decode_;  // null where prefill_ does both
  std::unique_ptr<GroupConductor> prefill_;
};

}  // namespace fathom
