#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "io/record_pack.h"
#include "model/config.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// A model as a Hugging Face folder (config.json and safetensors) holds it. Tensors keep alive what they lie
/// in.
struct LoadedModel {
  ModelConfig config;
  TransformerWeights weights;
  /// Where its routed experts lie, if that is in a pack of their own (model/expert_pack.h).
  std::shared_ptr<const RecordPack> expert_pack = nullptr;
};

/// Maps a model for inference. Matrices stay where and as they are stored, F32, BF16, F16, or F8_E4M3 with
/// block scales, and must not be written to; the embedding, head and `eh_proj` too. Norms, routers and biases
/// become f32.
///
/// MTP modules that config.json announces and the checkpoint lacks altogether are left out, with
/// `num_nextn_predict_layers` 0: transformers announces one for any DeepSeek-V3 that it saves, and never
/// saves it. The modules' own copies of embedding and head, `rotary_emb.inv_freq` buffers and a tied model's
/// `lm_head.weight` are passed over.
///
/// Throws `Error` naming the file and the tensor when one is missing, has no place in the config, or is of
/// another shape or type than the config needs.
LoadedModel load_model(const std::filesystem::path& folder);

/// The same in f32 in one block of memory, as `zero_weights` lays it out: to train, or to change.
/// @param arena  where to put the whole block as one flat tensor, if wanted
/// @param kept   whether to have a parameter, all rows or none; default: all
LoadedModel load_model_f32(const std::filesystem::path& folder, Tensor* arena = nullptr,
                           const RowsKept& kept = {});

/// Names a parameter value that is no finite number: "model.layers.3.mlp.gate.weight[5, 17] is nan". Empty
/// when there is none. Reads all weights: for when logits turn out not to be finite.
std::optional<std::string> find_non_finite(const ModelConfig& config, const TransformerWeights& weights);

}  // namespace fathom
