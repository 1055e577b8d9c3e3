#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "io/gguf_value.h"
#include "model/config.h"
#include "model/weights.h"
#include "text/tokenizer_spec.h"

namespace fathom {

struct GgufSaveOptions {
  /// Of matrices: F32, F16, BF16 or a type of blocks. Norms, routers and biases are F32 always. Where rows
  /// are no whole blocks of the type, Q8_0, or F16 where they are none of that either.
  DType dtype = DType::bf16;
  /// kv_b_proj in two halves, as llama.cpp wants it since 2025, or whole, as ik_llama.cpp and older files
  /// have it.
  bool split_kv_b = true;
  std::uint64_t max_part_bytes = 0;  // of tensor data in one file; 0: one file
  std::string name;                  // `general.name`; none where empty
  bool without_experts = false;      // routed ones: they are elsewhere, as `further_metadata` says
  std::vector<GgufMetadata::Entry> further_metadata = {};
  /// Called as bytes are written: so far, and in all.
  std::function<void(std::uint64_t written, std::uint64_t total)> progress;
};

/// Writes a model as GGUF (model/gguf_names.h), which llama.cpp, ik_llama.cpp and the `gguf` library read.
/// Weights may be of any type that `load_model` and `load_gguf_model` give; those that are stored as asked
/// for are copied as they are. A matrix is converted a band of rows at a time: memory is bounded by the
/// largest expert, or 64 MiB.
/// @param tokenizer  null: the file has none
/// @return the files written
/// Throws `Error` naming what GGUF cannot say (model/gguf_config.h), or the file.
std::vector<std::filesystem::path> save_gguf(ThreadPool& pool, const std::filesystem::path& path,
                                             const ModelConfig& config, const TransformerWeights& weights,
                                             const TokenizerSpec* tokenizer,
                                             const GgufSaveOptions& options = {});

}  // namespace fathom
