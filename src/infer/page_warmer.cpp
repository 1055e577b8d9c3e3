#include "infer/page_warmer.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/huge_pages.h"
#include "base/machine_memory.h"

namespace fathom {
namespace {

constexpr std::chrono::seconds kBeforeCopies{10};

/// Leaves the cores to whoever computes on them. What fails leaves the priority as it is.
void yield_to_others() {
  constexpr int kLowPriority = 10;
  constexpr id_t kThisThread = 0;
  setpriority(PRIO_PROCESS, kThisThread, kLowPriority);
}

std::uint64_t bytes_of(std::span<const Tensor> tensors) {
  std::uint64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.byte_size();
  return bytes;
}

}  // namespace

std::uint64_t bytes_to_copy(std::uint64_t available, std::uint64_t reserved_bytes, std::uint64_t other_bytes,
                            std::uint64_t expert_bytes) {
  const std::uint64_t most = available / 4 * 3;
  const std::uint64_t spare = most - std::min(most, reserved_bytes);
  return other_bytes + expert_bytes <= spare ? other_bytes + expert_bytes : std::min(other_bytes, spare);
}

PageWarmer::PageWarmer(const ModelConfig& config, TransformerWeights& weights, const WarmUp& what)
    : shared_(std::make_shared<Shared>()) {
  std::vector<Tensor> tensors;  // which keep their memory; the routed experts come last
  std::vector<Tensor> experts;
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& tensor, Tensor*) {
    if (tensor.defined()) (spec.expert < 0 ? tensors : experts).push_back(tensor);
  });
  visit_linear_maps(config, weights, [&](const ParameterSpec&, LinearWeight& map) {
    if (map.halves != nullptr) tensors.insert(tensors.end(), {map.halves->k_b, map.halves->v_b});
  });
  if (!what.experts) experts.clear();
  std::uint64_t limit = 0;
  if (what.copies)
    limit =
        bytes_to_copy(machine_memory().available, what.reserved_bytes, bytes_of(tensors), bytes_of(experts));
  std::ranges::move(experts, std::back_inserter(tensors));
  thread_ =
      std::jthread([tensors = std::move(tensors), limit, shared = shared_](const std::stop_token& stop) {
        yield_to_others();
        std::vector<std::span<const std::byte>> parts;
        for (const Tensor& tensor : tensors) {
          if (stop.stop_requested()) return;
          parts.push_back(tensor.bytes());
          map_cached_pages(parts.back());
        }
        if (limit == 0) return;
        {
          std::unique_lock lock(shared->mutex);
          shared->hurry.wait_for(lock, stop, kBeforeCopies, [&] { return shared->hurries; });
        }
        copy_into_huge_pages(parts, limit, shared->copied, stop);
      });
}

void PageWarmer::finish() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(shared_->mutex);
    shared_->hurries = true;
  }
  shared_->hurry.notify_all();
  thread_.join();
}

}  // namespace fathom
