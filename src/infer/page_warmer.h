#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "model/config.h"
#include "model/weights.h"

namespace fathom {

/// What a `PageWarmer` does for weights that lie in mapped files.
struct WarmUp {
  bool experts = true;               // routed ones, too: not where they are read otherwise
  bool copies = false;               // into huge pages, as far as memory is ample
  std::uint64_t reserved_bytes = 0;  // of memory that something else will take
};

/// Bytes of weights that may be copied: three quarters of what the machine could give, less what is reserved;
/// the routed experts, of which a token uses few, only together.
/// @param available     see `MachineMemory`
/// @param other_bytes   weights that are no routed experts
/// @param expert_bytes  all routed experts
std::uint64_t bytes_to_copy(std::uint64_t available, std::uint64_t reserved_bytes, std::uint64_t other_bytes,
                            std::uint64_t expert_bytes);

/// Prepares a model's mapped weights for being read again and again, on a thread of its own and of low
/// priority, so that neither the start nor the first tokens wait for it. What is in memory already is entered
/// into this process's page tables (`map_cached_pages`); then, if wanted, weights are copied into huge pages
/// where they lie (`copy_into_huge_pages`), which a decode step reads by a sixth faster. That begins after
/// ten seconds, as it takes longer than a short answer gains by it.
class PageWarmer {
 public:
  /// Does nothing.
  PageWarmer() = default;
  PageWarmer(const ModelConfig& config, TransformerWeights& weights, const WarmUp& what);

  /// Has it go on at once, and waits until it is done.
  void finish();
  /// Bytes that lie in huge pages by now.
  [[nodiscard]] std::uint64_t copied() const { return shared_ ? shared_->copied.load() : 0; }

 private:
  /// With the thread.
  struct Shared {
    std::atomic<std::uint64_t> copied{0};
    std::mutex mutex;
    std::condition_variable_any hurry;
    bool hurries = false;
  };

  std::shared_ptr<Shared> shared_;
  std::jthread thread_;
};

}  // namespace fathom
