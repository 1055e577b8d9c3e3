#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace fathom {

enum class ModelFamily : std::uint8_t { deepseek_v2, deepseek_v3 };
enum class ScoringFunc : std::uint8_t { softmax, sigmoid };
enum class TopkMethod : std::uint8_t { greedy, group_limited_greedy, noaux_tc };

/// YaRN (arXiv 2309.00071), applied to the decoupled key and query only.
struct YarnScaling {
  double factor = 1.0;
  std::int64_t original_max_position_embeddings = 4096;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double mscale = 1.0;
  double mscale_all_dim = 0.0;
  std::optional<double> attention_factor;  // given outright instead of by the two above

  /// What cosines and sines are multiplied with: `attention_factor`, or the quotient of the two mscales.
  [[nodiscard]] double cos_sin_factor() const;
};

/// The epsilon of q_a_layernorm and kv_a_layernorm: the references leave it at this whatever `rms_norm_eps`
/// is.
inline constexpr double kLatentNormEps = 1e-6;

/// What the released FP8 checkpoints say of their storage.
struct Fp8Storage {
  std::int64_t block_rows = 128;
  std::int64_t block_columns = 128;
  bool power_of_two_scales = false;  // scale_fmt: ue8m0
};

/// A model's architecture. Names are those of the Hugging Face `config.json`.
struct ModelConfig {
  ModelFamily family = ModelFamily::deepseek_v3;

  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;      // of the dense MLPs
  std::int64_t moe_intermediate_size = 0;  // of one expert
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;

  // Multi-head latent attention.
  std::int64_t q_lora_rank = 0;  // 0: queries by a plain projection
  std::int64_t kv_lora_rank = 0;
  std::int64_t qk_nope_head_dim = 0;
  std::int64_t qk_rope_head_dim = 0;
  std::int64_t v_head_dim = 0;
  bool attention_bias = false;
  double rope_theta = 10000.0;
  bool rope_interleave = true;  // pairs (2i, 2i + 1), as the released weights have them
  std::optional<YarnScaling> rope_scaling;

  // Mixture of experts.
  std::int64_t first_k_dense_replace = 0;
  std::int64_t moe_layer_freq = 1;
  std::int64_t n_routed_experts = 0;
  std::int64_t n_shared_experts = 0;
  std::int64_t num_experts_per_tok = 0;
  std::int64_t n_group = 1;
  std::int64_t topk_group = 1;
  bool norm_topk_prob = false;
  double routed_scaling_factor = 1.0;
  ScoringFunc scoring_func = ScoringFunc::sigmoid;
  TopkMethod topk_method = TopkMethod::noaux_tc;
  std::optional<double> aux_loss_alpha;  // absent in released V3 configs
  std::optional<bool> seq_aux;           // false: the auxiliary loss is of whole batches, not of sequences

  std::int64_t num_nextn_predict_layers = 0;  // MTP modules

  std::int64_t bos_token_id = -1;  // -1: none
  std::vector<std::int64_t> eos_token_ids;
  std::optional<Fp8Storage> fp8;

  [[nodiscard]] std::int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  /// Values that the cache keeps per token and layer.
  [[nodiscard]] std::int64_t latent_dim() const { return kv_lora_rank + qk_rope_head_dim; }
  [[nodiscard]] bool has_sequence_wise_loss() const { return seq_aux.value_or(true); }
  [[nodiscard]] bool is_moe_layer(std::int64_t layer) const {
    return n_routed_experts > 0 && layer >= first_k_dense_replace && layer % moe_layer_freq == 0;
  }
  /// 1 / sqrt(qk_head_dim), times the YaRN mscale² where `rope_scaling` asks for it.
  [[nodiscard]] double softmax_scale() const;
};

/// Reads a Hugging Face `config.json` of model_type deepseek_v2, deepseek_v3 or kimi_k2, or Fathom's own
/// training config (the same keys, and a `training` section, which this leaves alone). Each key is honoured,
/// known to be irrelevant to the result, or named in the error. An absent key takes the default of
/// `transformers`' DeepseekV2Config or DeepseekV3Config.
/// @param where  names the file in messages
ModelConfig model_config_from_json(const Json& json, std::string_view where);

ModelConfig load_model_config(const std::filesystem::path& file);

/// The config as Hugging Face's `transformers` reads it (DeepseekV2ForCausalLM or DeepseekV3ForCausalLM).
OrderedJson model_config_to_json(const ModelConfig& config);

/// Throws `Error` naming the key when sizes are impossible or do not fit together.
void validate_model_config(const ModelConfig& config, std::string_view where);

}  // namespace fathom
