#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "model/config.h"
#include "model/expert_cache.h"
#include "model/weights.h"

namespace fathom {

/// How the experts of a packed model are held in memory.
struct ExpertMemory {
  std::optional<std::uint64_t> bytes;  // none: what is free, up to all experts
  bool is_mapped = false;              // left to the system's page cache instead
  std::uint64_t reserved_bytes = 0;    // where it is what is free: that something else will take
};

/// The memory for experts where nobody says how much: what is available, less the other weights, which have
/// to stay in memory, and a tenth, at least 256 MiB, for caches and work; no more than all experts take, and
/// no less than what two tokens use.
/// @param other_bytes   weights that are no routed experts, and what else is reserved
/// @param expert_bytes  all routed experts
/// @param least_bytes   what two tokens use
std::uint64_t default_expert_bytes(std::uint64_t available, std::uint64_t other_bytes,
                                   std::uint64_t expert_bytes, std::uint64_t least_bytes);

/// Has a packed model's experts read through a cache. @return the cache; null where they are left to be
/// mapped
std::shared_ptr<ExpertCache> hold_experts(const std::shared_ptr<const RecordPack>& pack,
                                          const ModelConfig& config, TransformerWeights& weights,
                                          const ExpertMemory& memory);

}  // namespace fathom
