#pragma once

#include "base/thread_pool.h"
#include "numerics/precision.h"

namespace fathom {

class ExpertPeers;
class SequencePeers;

/// What a layer needs besides its weights: where to run and in which recipe. The seam for precisions and
/// devices. Cached inference is f32 always, with weights of any type.
struct Context {
  ThreadPool& pool;
  Precision precision = Precision::f32;
  /// The ranks that the routed experts are spread over (model/expert_peers.h); null: all of them are here.
  ExpertPeers* expert_peers = nullptr;
  /// The ranks that share out those sequences which are shared (model/sequence_peers.h); null: none are.
  SequencePeers* sequence_peers = nullptr;

  /// For the maps that stay out of FP8 in its recipe, the head and `eh_proj`.
  [[nodiscard]] Context without_fp8() const {
    return {pool, precision == Precision::fp8 ? Precision::bf16 : precision, expert_peers, sequence_peers};
  }
};

}  // namespace fathom
