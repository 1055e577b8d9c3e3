#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "base/thread_pool.h"
#include "io/record_pack.h"
#include "model/config.h"
#include "model/weights.h"

namespace fathom {

// A pack of routed experts (io/record_pack.h): a group for each MoE layer, whose key is the layer's number
// (num_hidden_layers + k for MTP module k), with a record for each expert, whose parts are the matrices gate,
// up and down, and the block scales of those that are FP8.

struct ExpertPackOptions {
  /// The type of the matrices; none: as they are stored.
  std::optional<DType> dtype;
  /// Called as records are written, with bytes so far and in all.
  std::function<void(std::uint64_t written, std::uint64_t total)> progress;
};

/// Writes the routed experts of a model, an expert in memory at a time. @return the pack's id
/// Throws `Error` where the model has none, or where one cannot be stored so.
std::uint64_t write_expert_pack(ThreadPool& pool, const std::filesystem::path& path,
                                const ModelConfig& config, const TransformerWeights& weights,
                                const ExpertPackOptions& options = {});

/// Makes the routed experts of `weights`, sized for the config, views of a mapped pack. Throws `Error` naming
/// what is missing, of another shape, or too much.
void map_expert_pack(const std::shared_ptr<const RecordPack>& pack, const ModelConfig& config,
                     TransformerWeights& weights);

/// The matrices of an expert whose record lies at `record`, as views that keep nothing alive.
MlpWeights expert_in_memory(const RecordGroup& group, const std::byte* record);

}  // namespace fathom
