#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "dist/collectives.h"
#include "dist/communicator.h"
#include "dist/placed_experts.h"
#include "infer/cache_options.h"
#include "infer/sampler.h"
#include "infer/speculation.h"
#include "infer/step_plan.h"
#include "model/context.h"
#include "model/expert_counts.h"
#include "model/latent_cache.h"
#include "model/transformer.h"
#include "text/grammar_compiler.h"

namespace fathom {

/// A rank's part of the engine: has the pages of latent caches, its sequences and their samplers, and
/// executes steps. Who has which pages is the leader's to say (`CacheBook`). All ranks of a group, which
/// share experts out, execute a step together.
class SequenceRunner {
 public:
  /// Keeps references.
  /// @param job        all ranks, among which caches travel
  /// @param experts    of the group's ranks; null: all experts are here
  /// @param with_text  tokens that may be chosen, the first ones of the vocabulary
  SequenceRunner(ThreadPool& pool, const Transformer& model, Communicator& job, PlacedExperts* experts,
                 std::int64_t with_text, const CacheOptions& cache);
  ~SequenceRunner();
  SequenceRunner(const SequenceRunner&) = delete;
  SequenceRunner& operator=(const SequenceRunner&) = delete;

  /// Who makes the grammars of those sequences that have one; kept. Without, they cannot have any.
  void use_grammars(GrammarCompiler& grammars) { grammars_ = &grammars; }
  [[nodiscard]] GrammarCompiler* grammars() const { return grammars_; }

  /// From now on sequences get drafts, as far as plans let them. Keeps a reference. Throws `Error` where
  /// sequences are spread over several processes: their steps are planned token for token.
  void speculate(Speculation& speculation);
  /// That a sequence gets at a time; 0 without speculation.
  [[nodiscard]] std::int64_t most_drafts() const {
    return speculation_ != nullptr ? speculation_->most_drafts() : 0;
  }

  StepResult execute(const StepPlan& plan);

  /// Tokens of this rank that went to each expert so far.
  [[nodiscard]] const ExpertCounts& expert_counts() const { return counts_; }

 private:
  struct Sequence;
  /// A sequence that chooses its next tokens behind rows of a pass: of the last token that it has, and of its
  /// drafts.
  struct Choice {
    Sequence* sequence;
    std::vector<std::int32_t> drafts;
    Tensor hidden;           // [1 + drafts, hidden], after the final norm
    bool may_draft = false;  // it might have had some
  };

  void drop(SequenceId id);
  void obey(const PageOrder& order, StepResult& result);
  void seat(const StepPlan::Seat& plan);
  void pause(SequenceId id);
  void receive(const NewSequence& plan);
  LatentPage& page(PageId id);
  std::span<std::byte> bytes_of(PageId id);
  void take_arrivals(bool waits, StepResult& result);
  void begin_text(Sequence& sequence) const;
  /// [runs] of those that go on behind their last token; without speculation there are none.
  std::vector<std::vector<std::int32_t>> draft(const std::vector<StepPlan::Run>& runs);
  void run(const std::vector<StepPlan::Run>& runs, StepResult& result);
  /// Tells the drafter what has been read of a prompt. @param rows  [tokens, hidden] of the last ones
  void tell(Sequence& sequence, const Tensor& rows) const;
  /// [rows of all, vocab]
  Tensor logits_of(const std::vector<Choice>& choices) const;
  void choose(const std::vector<Choice>& choices, const Tensor& logits, StepResult& result);
  /// Forgets the drafts that were refused.
  void settle(const Choice& choice, const Checked& checked, StepResult& result);
  Sequence& at(SequenceId id);

  Context context_;
  const Transformer& model_;
  Communicator& job_;
  PlacedExperts* experts_;
  std::int64_t with_text_;
  GrammarCompiler* grammars_ = nullptr;
  Speculation* speculation_ = nullptr;
  LatentPageLayout layout_;
  std::vector<LatentPage> pages_;  // by id; null until somebody uses it
  std::map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  ExpertCounts counts_;
};

}  // namespace fathom
