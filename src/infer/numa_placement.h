#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/thread_pool.h"
#include "base/topology.h"
#include "infer/numa_plan.h"
#include "model/config.h"
#include "model/weights.h"

namespace fathom {

/// Threads for a model, and the plan by which they and its weights were placed; none with `--numa off`.
struct PlacedModel {
  std::unique_ptr<ThreadPool> pool;
  std::optional<NumaPlan> plan;
};

/// What is known of a model's use when it is placed.
struct NumaUse {
  std::uint64_t cache_bytes = 0;
  bool has_resident_experts = true;     // false: routed experts are read from disk through a cache of theirs
  const ExpertCounts* usage = nullptr;  // see NumaModel
};

/// Makes the threads for a model and puts its weights where they belong. On a machine with one node, threads
/// are bound and weights stay where they are; with several, matrices are copied into memory of the nodes,
/// each part by threads of its own node. What else is allocated from then on, caches and activations, comes
/// from all nodes of the plan by turns. Call it before anything keeps the weights' addresses. Throws `Error`
/// where there is no memory for the copies, and see `plan_numa`.
/// @param threads  0: with `off` all of the machine's, else one for each core
PlacedModel place_model(const NumaChoice& choice, std::size_t threads, const ModelConfig& config,
                        TransformerWeights& weights, const NumaUse& use);
/// The same on a machine that is not this one, or bound by others.
PlacedModel place_model(const Topology& topology, const std::shared_ptr<NumaBinder>& binder,
                        const NumaChoice& choice, std::size_t threads, const ModelConfig& config,
                        TransformerWeights& weights, const NumaUse& use);

}  // namespace fathom
