#include "infer/expert_memory.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/machine_memory.h"
#include "base/progress.h"
#include "model/streamed_experts.h"

namespace fathom {
namespace {

/// Weights that are no routed experts.
std::uint64_t bytes_beside_experts(const ModelConfig& config, const TransformerWeights& weights) {
  TransformerWeights views = weights;
  std::uint64_t bytes = 0;
  visit_parameters(config, views, [&](const ParameterSpec& spec, Tensor& value, Tensor* scale) {
    if (spec.expert >= 0) return;
    bytes += value.byte_size();
    if (scale != nullptr && scale->defined()) bytes += scale->byte_size();
  });
  return bytes;
}

}  // namespace

std::uint64_t default_expert_bytes(std::uint64_t available, std::uint64_t other_bytes,
                                   std::uint64_t expert_bytes, std::uint64_t least_bytes) {
  const std::uint64_t margin = other_bytes + std::max(std::uint64_t{256} << 20U, available / 10);
  const std::uint64_t spare = available - std::min(available, margin);
  return std::min(expert_bytes, std::max(spare, least_bytes));
}

std::shared_ptr<ExpertCache> hold_experts(const std::shared_ptr<const RecordPack>& pack,
                                          const ModelConfig& config, TransformerWeights& weights,
                                          const ExpertMemory& memory) {
  if (pack == nullptr && (memory.bytes || memory.is_mapped))
    throw UsageError(
        "--expert-memory is for models whose experts are packed: make one with fathom convert --expert-pack");
  if (pack == nullptr || memory.is_mapped) return nullptr;
  std::uint64_t all = 0;
  std::uint64_t least = 0;
  for (const RecordGroup& group : pack->groups()) {
    all += group.stride * static_cast<std::uint64_t>(group.records);
    least +=
        2 * group.stride * static_cast<std::uint64_t>(std::min(config.num_experts_per_tok, group.records));
  }
  const std::uint64_t bytes =
      memory.bytes
          ? *memory.bytes
          : default_expert_bytes(machine_memory().available,
                                 bytes_beside_experts(config, weights) + memory.reserved_bytes, all, least);
  auto cache = std::make_shared<ExpertCache>(pack, bytes);
  stream_experts(cache, weights);
  log_info("experts: {} of {} fit memory; reading by {}", format_bytes(std::min(bytes, all)),
           format_bytes(all), cache->stats().reading);
  return cache;
}

}  // namespace fathom
