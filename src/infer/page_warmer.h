#pragma once

#include <thread>

#include "model/config.h"
#include "model/weights.h"

namespace fathom {

/// Enters a model's weights that are in memory already into this process's page tables (`map_cached_pages`),
/// on a thread of its own, so that neither the start nor the first tokens wait for it.
class PageWarmer {
 public:
  /// Does nothing.
  PageWarmer() = default;
  /// @param with_experts  routed ones, too: not where they are read otherwise
  PageWarmer(const ModelConfig& config, TransformerWeights& weights, bool with_experts = true);

  /// Waits until it is done.
  void finish() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::jthread thread_;
};

}  // namespace fathom
