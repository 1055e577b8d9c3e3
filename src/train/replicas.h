#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "dist/collectives.h"
#include "dist/communicator.h"
#include "model/config.h"
#include "model/context.h"
#include "model/weights.h"
#include "train/optimizer.h"

namespace fathom {

/// Sequences [first, first + count) of a step.
struct BatchShare {
  std::int64_t first = 0;
  std::int64_t count = 0;
};
/// Those of a step that one of several ranks takes: whole micro-batches that follow one another, as many as
/// the others' but for one, in the order of the ranks. So a step has the same sequences whatever the number
/// of ranks.
/// @param unit  sequences in a micro-batch; divides `batch_size`
BatchShare share_of_batch(std::int64_t batch_size, std::int64_t unit, int rank, int ranks);

/// Ranks that learn from different sequences of each step, and of which those that hold a parameter share the
/// optimizer's work on it out (data parallelism with ZeRO stage 1, arXiv 1910.02054). A step of each is:
/// gradients of its share of the batch, with `layer_is_done` as the last of its backward passes goes on, so
/// that gradients of one layer travel while those of the next are computed; `finish_reduction`; the
/// optimizer's step on the own shard; `gather_weights`. All ranks call all of these, but for `layer_is_done`.
/// A parameter is the same on all of its holders to the bit after each step, and in every run with this
/// layout. With one rank everything here is free.
class Replicas {
 public:
  /// Called by all ranks, laid out as the optimizer's shards are. Keeps references to them, weights and
  /// optimizer. Throws `Error` where the weights are not one block.
  Replicas(Communicator& ranks, const ModelConfig& config, TransformerWeights& weights, Optimizer& optimizer);

  [[nodiscard]] Communicator& ranks() const { return ranks_; }
  [[nodiscard]] bool is_first() const { return ranks_.rank() == 0; }

  /// The gradients of a layer (`ParameterSpec::layer`) change no more in this step: begins to sum them up.
  /// Layers come in the order of a backward pass: from the last one down, then -1.
  void layer_is_done(const Context& context, std::int64_t layer);
  /// Sums up what is left: after this, the own shard of the optimizer's gradients is the sum over the ranks
  /// that hold it, f32, in their order.
  void finish_reduction(const Context& context);
  /// The length of the reduced gradient over all parameters.
  [[nodiscard]] double gradient_norm(const Context& context) const;
  /// The other ranks' shards of the weights take the place of what they were.
  void gather_weights();
  /// The moments of all shards as those of one, on the first rank; empty on the others. Waits.
  /// Memory: there, twice the moments of a model for a moment, then once.
  [[nodiscard]] Moments gather_moments() const;
  /// The whole of weights that lie as the model's own do, on the first rank; undefined on the others. Where
  /// every rank has all of them they share storage. Waits.
  [[nodiscard]] TransformerWeights gather_all(const TransformerWeights& held) const;

 private:
  /// A bucket and those of its holders that take part.
  struct SharedBucket {
    ParameterShards::PlacedBucket placed;
    Communicator* holders = nullptr;
  };

  [[nodiscard]] const ParameterShards& shards() const { return optimizer_.shards(); }
  /// What all ranks have of a shard-shaped block, in one, on the first rank.
  /// @param block  what `own` lies in
  /// @param has    which parameters are in it
  [[nodiscard]] TransformerWeights gather_shards(TransformerWeights own, const Tensor& block,
                                                 Tensor* all_block,
                                                 const std::function<bool(const ParameterSpec&)>& has) const;

  Communicator& ranks_;
  const ModelConfig config_;
  Optimizer& optimizer_;
  Tensor weights_;                                      // as one block
  std::vector<std::unique_ptr<Communicator>> holders_;  // [holder sets], null for those without this rank
  /// In the order in which a backward pass is done with them.
  std::vector<SharedBucket> buckets_;
  std::size_t begun_ = 0;                   // buckets of this step
  std::optional<ReduceScatter> reduction_;  // of the last one begun
};

}  // namespace fathom
