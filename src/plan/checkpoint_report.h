#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "io/safetensors.h"
#include "model/checkpoint_match.h"
#include "model/config.h"
#include "model/latent_cache.h"
#include "model/weights.h"

namespace fathom {

/// What a safetensors file, a model folder or a config.json alone holds: for `fathom inspect`.
struct CheckpointReport {
  struct File {
    std::string name;
    std::uint64_t bytes = 0;
    std::size_t tensors = 0;
  };
  struct Stored {
    TensorEntry entry;
    std::string file;
  };
  struct Totals {
    std::size_t tensors = 0;
    std::uint64_t elements = 0;
    std::uint64_t bytes = 0;
  };

  std::string path;
  std::vector<File> files;      // sorted by name
  std::vector<Stored> tensors;  // sorted by name
  std::map<std::string, Totals> by_dtype;
  Totals totals;
  TensorMetadata metadata;

  std::optional<ModelConfig> config;
  std::string config_problem;  // why config.json beside the weights cannot be used; empty where it can
  std::optional<ParameterCounts> parameters;
  std::optional<CheckpointMatch> match;  // where there are both config and weights
};

/// @param path  a safetensors file, a folder with config.json or weights or both, an index, or a config.json
/// Throws `Error` where there is nothing to show or the weights' files are damaged. A config.json beside
/// weights may be unreadable (`config_problem`); alone, it is an error.
CheckpointReport inspect_checkpoint(const std::filesystem::path& path);

/// What running a model takes.
struct MemoryEstimate {
  std::uint64_t weights = 0;                 // bytes; as stored, or in BF16 for a config alone
  std::optional<std::uint64_t> weights_fp8;  // block-scaled FP8 as released; for a config alone
  /// Bytes a token, all layers, by `--cache-type`, in the order of `kernels::kLatentTypes`; empty without
  /// config.
  std::vector<std::pair<LatentType, std::uint64_t>> latent_cache;
};
MemoryEstimate estimate_memory(const CheckpointReport& report);

/// The whole report, for programs.
OrderedJson report_to_json(const CheckpointReport& report);

/// The report for people: aligned columns, tensors that differ in layer and expert only as one line.
std::string report_to_text(const CheckpointReport& report);

}  // namespace fathom
