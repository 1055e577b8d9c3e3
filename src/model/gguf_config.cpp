#include "model/gguf_config.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "model/gguf_names.h"

namespace fathom {
namespace {

constexpr std::int64_t kSoftmaxGating = 1;
constexpr std::int64_t kSigmoidGating = 2;
/// The converter of llama.cpp stores a tenth of mscale_all_dim.
constexpr double kLogMultiplierPerMscale = 0.1;

std::string architecture_key(std::string_view rest) {
  return fmt::format("{}.{}", kGgufArchitecture, rest);
}

/// The shortest decimal that rounds to this f32: 1e-6 for 9.99999997e-07.
double shortest_decimal(float value) {
  const std::string text = fmt::format("{}", value);
  double decimal = value;
  std::from_chars(text.data(), text.data() + text.size(), decimal);
  return decimal;
}

/// Reads the keys of the architecture.
class Keys {
 public:
  Keys(const GgufMetadata& metadata, std::string_view where) : metadata_(metadata), where_(where) {}

  [[nodiscard]] const GgufValue* find(std::string_view rest) const {
    return metadata_.find(architecture_key(rest));
  }

  [[nodiscard]] std::optional<std::int64_t> find_integer(std::string_view rest) const {
    const GgufValue* value = find(rest);
    if (value == nullptr) return std::nullopt;
    const auto integer = integer_of(*value);
    if (!integer) reject(rest, "an integer");
    return *integer;
  }
  [[nodiscard]] std::int64_t integer(std::string_view rest) const {
    const auto value = find_integer(rest);
    if (!value) reject(rest, "an integer");
    return *value;
  }
  [[nodiscard]] std::int64_t integer_or(std::string_view rest, std::int64_t fallback) const {
    return find_integer(rest).value_or(fallback);
  }

  [[nodiscard]] double number_or(std::string_view rest, double fallback) const {
    const GgufValue* value = find(rest);
    if (value == nullptr) return fallback;
    if (const auto* narrow = std::get_if<float>(value)) return shortest_decimal(*narrow);
    const auto number = number_of(*value);
    if (!number) reject(rest, "a number");
    return *number;
  }

  [[nodiscard]] bool boolean_or(std::string_view rest, bool fallback) const {
    const GgufValue* value = find(rest);
    if (value == nullptr) return fallback;
    if (!std::holds_alternative<bool>(*value)) reject(rest, "a bool");
    return std::get<bool>(*value);
  }

  [[noreturn]] void reject(std::string_view rest, std::string_view expected) const {
    const GgufValue* value = find(rest);
    fail("{}: {} is {}, expected {}", where(), architecture_key(rest),
         value == nullptr ? "absent" : gguf_value_text(*value), expected);
  }

  [[nodiscard]] std::string_view where() const { return where_; }

 private:
  const GgufMetadata& metadata_;
  std::string_view where_;
};

void read_gguf_attention(const Keys& keys, ModelConfig& config) {
  config.num_attention_heads = keys.integer("attention.head_count");
  config.q_lora_rank = keys.integer_or("attention.q_lora_rank", 0);
  config.kv_lora_rank = keys.integer("attention.kv_lora_rank");
  config.qk_rope_head_dim = keys.integer("rope.dimension_count");
  // Where kv_b_proj is in halves, the plain keys describe the absorbed form, one head of kv_lora_rank + rope.
  const bool split = keys.find("attention.key_length_mla") != nullptr;
  const char* key_length = split ? "attention.key_length_mla" : "attention.key_length";
  config.qk_nope_head_dim = keys.integer(key_length) - config.qk_rope_head_dim;
  if (config.qk_nope_head_dim <= 0) keys.reject(key_length, "more than rope.dimension_count");
  config.v_head_dim = keys.integer(split ? "attention.value_length_mla" : "attention.value_length");
}

void read_gguf_rope(const Keys& keys, ModelConfig& config) {
  config.rope_theta = keys.number_or("rope.freq_base", 10000.0);
  const GgufValue* type = keys.find("rope.scaling.type");
  if (keys.number_or("rope.scaling.attn_factor", 1.0) != 1.0) keys.reject("rope.scaling.attn_factor", "1");
  const auto* text = type == nullptr ? nullptr : std::get_if<std::string>(type);
  if (type == nullptr || (text != nullptr && *text == "none")) return;
  if (text == nullptr || *text != "yarn") keys.reject("rope.scaling.type", "\"yarn\" or \"none\"");
  YarnScaling yarn;
  yarn.factor = keys.number_or("rope.scaling.factor", 0);
  if (!(yarn.factor > 0)) keys.reject("rope.scaling.factor", "a positive number");
  yarn.original_max_position_embeddings = keys.integer("rope.scaling.original_context_length");
  yarn.beta_fast = keys.number_or("rope.scaling.yarn_beta_fast", yarn.beta_fast);
  yarn.beta_slow = keys.number_or("rope.scaling.yarn_beta_slow", yarn.beta_slow);
  const double multiplier = keys.number_or("rope.scaling.yarn_log_multiplier", 0);
  if (multiplier != 0) {
    constexpr double kDigits = 1e9;  // what the division adds at the end is no part of the number
    yarn.mscale_all_dim = std::round(multiplier / kLogMultiplierPerMscale * kDigits) / kDigits;
    yarn.mscale = yarn.mscale_all_dim;  // they are equal in every released model, and the format has one
  }
  if (keys.find("rope.scaling.yarn_attn_factor") != nullptr)
    yarn.attention_factor = keys.number_or("rope.scaling.yarn_attn_factor", 1.0);
  config.rope_scaling = yarn;
}

/// Groups of experts, where the file does not name them, of the models that were released with some.
void assume_released_groups(const Keys& keys, ModelConfig& config) {
  const bool v3 = config.scoring_func == ScoringFunc::sigmoid && config.n_routed_experts == 256 &&
                  config.num_experts_per_tok == 8 && config.hidden_size == 7168;
  const bool v2 = config.scoring_func == ScoringFunc::softmax && config.n_routed_experts == 160 &&
                  config.num_experts_per_tok == 6 && config.hidden_size == 5120;
  if (!v3 && !v2) return;
  config.n_group = 8;
  config.topk_group = v3 ? 4 : 3;
  log_info("{}: says nothing of groups of experts; routing to {} of {}, as DeepSeek-{} does", keys.where(),
           config.topk_group, config.n_group, v3 ? "V3" : "V2");
}

void read_gguf_experts(const Keys& keys, bool has_router_bias, ModelConfig& config) {
  config.n_routed_experts = keys.integer_or("expert_count", 0);
  config.first_k_dense_replace = keys.integer_or("leading_dense_block_count",
                                                 config.n_routed_experts > 0 ? 0 : config.num_hidden_layers);
  // Biases that only select are of DeepSeek-V3's routing, whether a converter found the word for it or not.
  const std::int64_t unsaid = has_router_bias ? kSigmoidGating : 0;
  const std::int64_t given = keys.integer_or("expert_gating_func", 0);
  const std::int64_t gating = given == 0 ? unsaid : given;
  if (gating != 0 && gating != kSoftmaxGating && gating != kSigmoidGating)
    keys.reject("expert_gating_func", "1 (softmax) or 2 (sigmoid)");
  const bool v3 = gating == kSigmoidGating;
  config.family = v3 ? ModelFamily::deepseek_v3 : ModelFamily::deepseek_v2;
  config.scoring_func = v3 ? ScoringFunc::sigmoid : ScoringFunc::softmax;
  config.topk_method = v3 ? TopkMethod::noaux_tc : TopkMethod::greedy;
  if (config.n_routed_experts == 0) return;
  config.moe_intermediate_size = keys.integer("expert_feed_forward_length");
  config.num_experts_per_tok = keys.integer("expert_used_count");
  config.n_shared_experts = keys.integer_or("expert_shared_count", 0);
  config.norm_topk_prob = keys.boolean_or("expert_weights_norm", false);
  const double scale = keys.number_or("expert_weights_scale", 1.0);
  config.routed_scaling_factor = scale == 0 ? 1.0 : scale;
  const auto groups = keys.find_integer("expert_group_count");
  if (groups && *groups > 0) {
    config.n_group = *groups;
    config.topk_group = keys.integer("expert_group_used_count");
  } else {
    assume_released_groups(keys, config);
  }
  if (!v3 && config.n_group > 1) config.topk_method = TopkMethod::group_limited_greedy;
}

/// Ids that end a text; the last comes from chat models' templates.
void read_gguf_special_tokens(const GgufMetadata& metadata, ModelConfig& config) {
  const auto id_of = [&](std::string_view key) {
    const GgufValue* value = metadata.find(key);
    return value == nullptr ? -1 : integer_of(*value).value_or(-1);
  };
  const auto in_vocabulary = [&](std::int64_t id) { return id >= 0 && id < config.vocab_size; };
  const std::int64_t bos = id_of("tokenizer.ggml.bos_token_id");
  if (in_vocabulary(bos)) config.bos_token_id = bos;
  const std::int64_t eos = id_of("tokenizer.ggml.eos_token_id");
  if (in_vocabulary(eos)) config.eos_token_ids.push_back(eos);
  const std::int64_t eot = id_of("tokenizer.ggml.eot_token_id");
  if (in_vocabulary(eot) && eot != eos) config.eos_token_ids.push_back(eot);
}

void require_expressible(const ModelConfig& config) {
  require(!config.attention_bias, "attention_bias is true: GGUF has no place for the biases of a {} model",
          kGgufArchitecture);
  require(config.rope_interleave, "rope_interleave is false: GGUF's {} models have interleaved pairs",
          kGgufArchitecture);
  require(config.moe_layer_freq == 1 || config.n_routed_experts == 0,
          "moe_layer_freq is {}: in GGUF's {} models every layer after the dense ones has experts",
          config.moe_layer_freq, kGgufArchitecture);
}

}  // namespace

ModelConfig gguf_model_config(const GgufFile& file) {
  const std::string where = file.path().string();
  const GgufTensor* embedding = file.find("token_embd.weight");
  require(embedding != nullptr && embedding->shape.size() == 2,
          "{}: has no matrix token_embd.weight: not a model, or a vocabulary alone", where);
  GgufTensorFacts facts;
  facts.vocab_size = embedding->shape.front();
  facts.has_head = file.contains("output.weight");
  facts.has_router_bias = std::ranges::any_of(
      file.names(), [](const std::string& name) { return name.ends_with(".exp_probs_b.bias"); });
  return gguf_model_config(file.metadata(), facts, where);
}

ModelConfig gguf_model_config(const GgufMetadata& metadata, const GgufTensorFacts& facts,
                              std::string_view where) {
  const Keys keys(metadata, where);
  const GgufValue* given = metadata.find("general.architecture");
  const auto* architecture = given == nullptr ? nullptr : std::get_if<std::string>(given);
  require(architecture != nullptr && *architecture == kGgufArchitecture,
          "{}: general.architecture is {}, expected \"{}\" (DeepSeek-V2, -V3 and models built like them)",
          where, given == nullptr ? "absent" : gguf_value_text(*given), kGgufArchitecture);
  ModelConfig config;
  config.num_nextn_predict_layers = keys.integer_or("nextn_predict_layers", 0);
  config.num_hidden_layers = keys.integer("block_count") - config.num_nextn_predict_layers;
  config.max_position_embeddings = keys.integer("context_length");
  config.hidden_size = keys.integer("embedding_length");
  config.intermediate_size = keys.integer("feed_forward_length");
  config.rms_norm_eps = keys.number_or("attention.layer_norm_rms_epsilon", config.rms_norm_eps);
  config.vocab_size = facts.vocab_size;
  config.tie_word_embeddings = !facts.has_head;
  read_gguf_attention(keys, config);
  read_gguf_rope(keys, config);
  read_gguf_experts(keys, facts.has_router_bias, config);
  read_gguf_special_tokens(metadata, config);
  validate_model_config(config, where);
  return config;
}

GgufMetadata gguf_config_metadata(const ModelConfig& config, bool split_kv_b) {
  require_expressible(config);
  GgufMetadata metadata;
  metadata.set("general.architecture", std::string(kGgufArchitecture));
  const auto integer = [&](std::string_view rest, std::int64_t value) {
    metadata.set(architecture_key(rest), static_cast<std::uint32_t>(value));
  };
  const auto number = [&](std::string_view rest, double value) {
    metadata.set(architecture_key(rest), static_cast<float>(value));
  };
  integer("block_count", config.num_hidden_layers + config.num_nextn_predict_layers);
  integer("context_length", config.max_position_embeddings);
  integer("embedding_length", config.hidden_size);
  integer("feed_forward_length", config.intermediate_size);
  integer("attention.head_count", config.num_attention_heads);
  integer("attention.head_count_kv", split_kv_b ? 1 : config.num_attention_heads);
  if (config.rope_scaling) {
    const YarnScaling& yarn = *config.rope_scaling;
    require(yarn.mscale_all_dim == 0 || yarn.mscale == yarn.mscale_all_dim || yarn.attention_factor,
            "rope_scaling: mscale is {} and mscale_all_dim {}: GGUF has room for one of them", yarn.mscale,
            yarn.mscale_all_dim);
    metadata.set(architecture_key("rope.scaling.type"), std::string("yarn"));
    number("rope.scaling.factor", yarn.factor);
    integer("rope.scaling.original_context_length", yarn.original_max_position_embeddings);
    if (yarn.attention_factor) number("rope.scaling.yarn_attn_factor", *yarn.attention_factor);
    number("rope.scaling.yarn_beta_fast", yarn.beta_fast);
    number("rope.scaling.yarn_beta_slow", yarn.beta_slow);
    if (yarn.mscale_all_dim != 0)
      number("rope.scaling.yarn_log_multiplier", kLogMultiplierPerMscale * yarn.mscale_all_dim);
  }
  number("rope.freq_base", config.rope_theta);
  number("attention.layer_norm_rms_epsilon", config.rms_norm_eps);
  if (config.n_routed_experts > 0) {
    integer("expert_count", config.n_routed_experts);
    integer("expert_used_count", config.num_experts_per_tok);
    // Older readers take a single group for many groups of one expert.
    if (config.n_group > 1) {
      integer("expert_group_count", config.n_group);
      integer("expert_group_used_count", config.topk_group);
    }
    integer("expert_gating_func",
            config.scoring_func == ScoringFunc::sigmoid ? kSigmoidGating : kSoftmaxGating);
  }
  integer("leading_dense_block_count",
          config.n_routed_experts > 0 ? config.first_k_dense_replace : config.num_hidden_layers);
  integer("vocab_size", config.vocab_size);
  if (config.q_lora_rank > 0) integer("attention.q_lora_rank", config.q_lora_rank);
  integer("attention.kv_lora_rank", config.kv_lora_rank);
  if (split_kv_b) {
    integer("attention.key_length", config.latent_dim());
    integer("attention.value_length", config.kv_lora_rank);
    integer("attention.key_length_mla", config.qk_head_dim());
    integer("attention.value_length_mla", config.v_head_dim);
  } else {
    integer("attention.key_length", config.qk_head_dim());
    integer("attention.value_length", config.v_head_dim);
  }
  integer("expert_feed_forward_length",
          config.n_routed_experts > 0 ? config.moe_intermediate_size : config.intermediate_size);
  integer("expert_shared_count", config.n_shared_experts);
  number("expert_weights_scale", config.routed_scaling_factor);
  if (config.norm_topk_prob) metadata.set(architecture_key("expert_weights_norm"), true);
  integer("rope.dimension_count", config.qk_rope_head_dim);
  if (config.num_nextn_predict_layers > 0) integer("nextn_predict_layers", config.num_nextn_predict_layers);
  return metadata;
}

}  // namespace fathom
