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

  StepResult execute(const StepPlan& plan);

  /// Tokens of this rank that went to each expert so far.
  [[nodiscard]] const ExpertCounts& expert_counts() const { return counts_; }

 private:
  struct Sequence;

  void drop(SequenceId id);
  void obey(const PageOrder& order, StepResult& result);
  void seat(const StepPlan::Seat& plan);
  void pause(SequenceId id);
  void receive(const NewSequence& plan);
  LatentPage& page(PageId id);
  std::span<std::byte> bytes_of(PageId id);
  void take_arrivals(bool waits, StepResult& result);
  void run(const std::vector<StepPlan::Run>& runs, StepResult& result);
  /// @param hidden  [sequences, hidden], after the final norm, of the last token of each
  void choose(const std::vector<Sequence*>& sequences, const Tensor& hidden, StepResult& result);
  Sequence& at(SequenceId id);

  Context context_;
  const Transformer& model_;
  Communicator& job_;
  PlacedExperts* experts_;
  std::int64_t with_text_;
  GrammarCompiler* grammars_ = nullptr;
  LatentPageLayout layout_;
  std::vector<LatentPage> pages_;  // by id; null until somebody uses it
  std::map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  ExpertCounts counts_;
};

}  // namespace fathom
