#pragma once

#include <cstdint>
#include <memory>

#include "dist/communicator.h"
#include "dist/placed_experts.h"
#include "infer/cache_ledger.h"
#include "infer/cache_options.h"
#include "infer/sequence_runner.h"
#include "model/expert_counts.h"
#include "model/transformer.h"
#include "text/tokenizer.h"

namespace fathom {

/// Which ranks of a job read prompts, and which go on from there.
struct ServingLayout {
  RankRange prefill;
  RankRange decode;  // the same ones where caches do not travel

  [[nodiscard]] bool is_disaggregated() const { return prefill != decode; }
  [[nodiscard]] const RankRange& group_of(int rank) const {
    return prefill.contains(rank) ? prefill : decode;
  }
};
/// @param prefill  how many ranks, the first ones, only read prompts; 0: all do everything
/// Throws `Error` where none would be left.
ServingLayout serving_layout(int ranks, int prefill);

struct PlacementOptions {
  std::int64_t redundant_experts = 0;  // in each layer
  ExpertCounts counts;                 // to place by; empty: as if all were as busy
};

/// What a rank of a serving job has: its share of its group's experts, and its sequences.
class ServingRank {
 public:
  /// Called by all ranks. Keeps references to all but `placement` and `cache`.
  ServingRank(ThreadPool& pool, const Transformer& model, const Tokenizer& tokenizer, Communicator& job,
              const ServingLayout& layout, const PlacementOptions& placement, const CacheOptions& cache);

  [[nodiscard]] SequenceRunner& runner() { return runner_; }

  /// Of a rank other than the first: executes steps until the leader ends.
  void follow();

  /// Tokens of all ranks that went to each expert. Called by all ranks, when there are no more steps.
  [[nodiscard]] ExpertCounts all_expert_counts();

 private:
  const ModelConfig& config_;
  Communicator& job_;
  std::unique_ptr<Communicator> group_;
  std::unique_ptr<PlacedExperts> experts_;  // null where the group is one rank, or has no experts
  SequenceRunner runner_;
};

}  // namespace fathom
