#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/expert_cache.h"
#include "model/expert_groups.h"
#include "model/router.h"
#include "model/weights.h"

namespace fathom {

/// The routed experts of one layer, that are read when they are used.
class StreamedExperts {
 public:
  /// @param group  of the cache's pack
  StreamedExperts(std::shared_ptr<ExpertCache> cache, std::size_t group)
      : cache_(std::move(cache)), group_(group) {}

  /// Experts that have rows, being read.
  class Reading {
   public:
    struct Expert {
      std::size_t expert;
      MlpWeights weights;  // stay until the next wave
    };
    /// Experts that are there and were not given yet; empty when all were. Throws `Error` where one cannot be
    /// read.
    std::vector<Expert> next_wave();

   private:
    friend class StreamedExperts;
    const RecordGroup* group_ = nullptr;
    std::unique_ptr<ExpertCache::Use> use_;
  };
  /// Begins to read the experts that have rows.
  [[nodiscard]] Reading read(const ExpertGroups& groups) const;

  /// Reads ahead what `routing` chooses, when nobody waits for anything else.
  void expect(const Routing& routing) const;
  [[nodiscard]] bool wants_guesses() const { return cache_->wants_guesses(); }

 private:
  std::shared_ptr<ExpertCache> cache_;
  std::size_t group_;
};

/// Has every MoE layer of `weights`, mapped from the cache's pack, read its experts through the cache in
/// inference.
void stream_experts(const std::shared_ptr<ExpertCache>& cache, TransformerWeights& weights);

}  // namespace fathom
