#pragma once

#include <cstdint>
#include <filesystem>

#include "model/config.h"
#include "model/weights.h"
#include "numerics/block_scale.h"
#include "numerics/dtype.h"

namespace fathom {

struct SaveOptions {
  /// F32, BF16, F16 or F8_E4M3. The last is for the matrices of attention, MLPs and experts, as in the
  /// released checkpoints: embedding, head, norms, routers, biases and `eh_proj` are BF16 then. The routers'
  /// balancing biases are F32 always.
  DType dtype = DType::bf16;
  ScaleFormat fp8_scales = ScaleFormat::f32;
  std::uint64_t max_shard_bytes = 5'000'000'000;  // of one file
};

/// Writes a Hugging Face folder, config.json and safetensors, which `transformers` reads; other files in the
/// folder stay. Weights may be of any type that `load_model` gives; FP8 that stays FP8, with the same
/// kind of scales, is copied as it is.
/// The MTP modules' copies of embedding and head are not written: loaders take the main model's.
///
/// The folder is a model or none at any moment: config.json goes away before the weights are exchanged and
/// comes back last, unless it says the same as before. A failure before that (a full disk) changes nothing.
/// Throws `Error` naming the file.
void save_model(const std::filesystem::path& folder, const ModelConfig& config,
                const TransformerWeights& weights, const SaveOptions& options = {});

}  // namespace fathom
