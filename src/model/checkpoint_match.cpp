#include "model/checkpoint_match.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/error.h"
#include "numerics/dtype.h"

namespace fathom {
namespace {

/// Calls `visit` with the prefix of each MTP module's tensors until it returns true; returns whether it did.
template <typename Visit>
bool any_mtp_prefix(const ModelConfig& config, const Visit& visit) {
  for (std::int64_t k = 0; k < config.num_nextn_predict_layers; ++k)
    if (visit(fmt::format("model.layers.{}.", config.num_hidden_layers + k))) return true;
  return false;
}

/// Whether a checkpoint may hold the tensor although the model has no place for it.
bool is_passed_over(const ModelConfig& config, std::string_view name) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  if (config.tie_word_embeddings && name == "lm_head.weight") return true;
  return any_mtp_prefix(config, [&](const std::string& prefix) {
    return name == prefix + "embed_tokens.weight" || name == prefix + "shared_head.head.weight";
  });
}

}  // namespace

CheckpointMatch match_checkpoint(const ModelConfig& config, const CheckpointFolder& checkpoint) {
  CheckpointMatch match;
  match.config = config;
  const bool has_mtp = any_mtp_prefix(config, [&](const std::string& prefix) {
    return std::ranges::any_of(checkpoint.names(),
                               [&](const std::string& name) { return name.starts_with(prefix); });
  });
  if (config.num_nextn_predict_layers > 0 && !has_mtp) {
    match.mtp_left_out = true;
    match.config.num_nextn_predict_layers = 0;
  }
  std::set<std::string, std::less<>> needed;
  for (const ParameterSpec& spec : parameter_specs(match.config)) {
    needed.insert(spec.name);
    if (!checkpoint.contains(spec.name)) {
      match.missing.push_back(fmt::format("{} {} ({})", spec.name, shape_text(spec.shape), spec.sizes));
      continue;
    }
    const TensorEntry& entry = checkpoint.entry(spec.name);
    if (entry.shape != spec.shape) match.wrong_shape.push_back({spec, entry.shape});
    if (entry.dtype != dtype_name(DType::f8_e4m3)) continue;
    const std::string scale = scale_name(spec.name);
    needed.insert(scale);
    if (!checkpoint.contains(scale)) match.missing.push_back(scale + ", which an FP8 weight needs");
  }
  for (const std::string& name : checkpoint.names())
    if (!needed.contains(name) && !is_passed_over(match.config, name)) match.surplus.push_back(name);
  return match;
}

}  // namespace fathom
