#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/json_excerpt.h"
#include "model/config.h"

namespace fathom {
namespace {

/// Reads the keys of one JSON object and remembers which, so that `finish` can name the rest.
class Reader {
 public:
  /// @param path  of the object within the file, with a dot at its end: "rope_scaling."
  Reader(const Json& object, std::string_view where, std::string path)
      : object_(object), where_(where), path_(std::move(path)) {
    require(object.is_object(), "{}: {} is {}, expected an object", where_,
            path_.empty() ? "the config" : path_.substr(0, path_.size() - 1), excerpt(object));
  }

  /// The value of a key; null when it is absent or null itself.
  const Json* find(std::string_view key) {
    known_.emplace(key);
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  [[nodiscard]] bool has(std::string_view key) const { return object_.contains(key); }

  std::int64_t integer(std::string_view key, std::int64_t fallback) {
    const Json* value = find(key);
    return value == nullptr ? fallback : to_integer(key, *value);
  }

  double number(std::string_view key, double fallback) {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number()) reject(key, "a number");
    return value->get<double>();
  }

  bool boolean(std::string_view key, bool fallback) {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) reject(key, "true or false");
    return value->get<bool>();
  }

  std::string string(std::string_view key, std::string fallback) {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) reject(key, "a string");
    return value->get<std::string>();
  }

  /// One of the named values.
  template <typename Value>
  Value choice(std::string_view key, Value fallback,
               std::initializer_list<std::pair<std::string_view, Value>> values) {
    const Json* given = find(key);
    if (given == nullptr) return fallback;
    std::string expected;
    for (const auto& [name, value] : values) {
      if (given->is_string() && given->get_ref<const std::string&>() == name) return value;
      expected += (expected.empty() ? "" : " or ") + std::string(name);
    }
    reject(key, expected);
  }

  /// A key that only one value is supported of, if it is there.
  void only(std::string_view key, const Json& supported) {
    const Json* value = find(key);
    if (value != nullptr && *value != supported) reject(key, excerpt(supported));
  }

  void ignore(std::initializer_list<std::string_view> keys) {
    for (const std::string_view key : keys) known_.emplace(key);
  }

  /// An integer or a list of them; empty when absent.
  std::vector<std::int64_t> integers(std::string_view key) {
    const Json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_array()) return {to_integer(key, *value)};
    std::vector<std::int64_t> result;
    for (const Json& item : *value) result.push_back(to_integer(key, item));
    return result;
  }

  [[noreturn]] void reject(std::string_view key, std::string_view expected) const {
    const auto found = object_.find(key);
    fail("{}: {}{} is {}, expected {}", where_, path_, key,
         found == object_.end() ? "absent" : excerpt(*found), expected);
  }

  /// Throws `Error` naming a key that nothing asked for; null ones say nothing.
  void finish() const {
    for (const auto& [key, value] : object_.items())
      require(known_.contains(key) || value.is_null(),
              "{}: {}{} is {}, a key that Fathom does not know; remove it if it is idle", where_, path_,
              printable(key), excerpt(value));
  }

 private:
  [[nodiscard]] std::int64_t to_integer(std::string_view key, const Json& value) const {
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= std::uint64_t{INT64_MAX});
    if (!fits) reject(key, "an integer");
    return value.get<std::int64_t>();
  }

  const Json& object_;
  std::string_view where_;
  std::string path_;
  std::set<std::string, std::less<>> known_;
};

/// Names that `transformers` takes for another: the value under whichever is there.
std::int64_t aliased(Reader& reader, std::string_view key, std::string_view alias, std::int64_t fallback) {
  const std::int64_t other = reader.integer(alias, -1);
  const std::int64_t value = reader.integer(key, reader.find(alias) != nullptr ? other : fallback);
  if (reader.find(alias) != nullptr && other != value)
    reader.reject(alias, "the same as " + std::string(key));
  return value;
}

/// Keys that do not change what the model computes.
void ignore_idle_keys(Reader& reader) {
  // Which classes and library wrote the file, and how they hold weights in memory.
  reader.ignore({"auto_map", "transformers_version", "_name_or_path", "name_or_path", "torch_dtype", "dtype",
                 "_attn_implementation", "_attn_implementation_autoset", "attn_implementation", "torchscript",
                 "_commit_hash", "unsloth_fixed", "unsloth_version"});
  // How the reference runs: caching, parallelism, what it returns beside the logits.
  reader.ignore({"use_cache", "pretraining_tp", "ep_size", "output_attentions", "output_hidden_states",
                 "output_router_logits", "return_dict", "use_return_dict", "gradient_checkpointing",
                 "chunk_size_feed_forward", "use_bfloat16", "tf_legacy_loss"});
  // Of other models' training, and Fathom's own, which train/training_config.h reads.
  reader.ignore({"router_aux_loss_coef", "training"});
  // Follow from other keys, and the references compute them again.
  reader.ignore({"head_dim", "qk_head_dim"});
  // For padding, text, other heads and generation, none of which touch the logits.
  reader.ignore({"pad_token_id",
                 "sep_token_id",
                 "cls_token_id",
                 "mask_token_id",
                 "unk_token_id",
                 "decoder_start_token_id",
                 "tokenizer_class",
                 "prefix",
                 "id2label",
                 "label2id",
                 "num_labels",
                 "problem_type",
                 "finetuning_task",
                 "task_specific_params",
                 "classifier_dropout",
                 "do_sample",
                 "temperature",
                 "top_k",
                 "top_p",
                 "max_length",
                 "min_length",
                 "repetition_penalty",
                 "suppress_tokens",
                 "begin_suppress_tokens",
                 "bad_words_ids",
                 "forced_bos_token_id",
                 "forced_eos_token_id",
                 "exponential_decay_length_penalty",
                 "no_repeat_ngram_size",
                 "encoder_no_repeat_ngram_size",
                 "num_beams",
                 "num_beam_groups",
                 "diversity_penalty",
                 "length_penalty",
                 "early_stopping",
                 "typical_p",
                 "num_return_sequences",
                 "output_scores",
                 "return_dict_in_generate",
                 "remove_invalid_values"});
}

/// Switches that would change the result, in the one position that DeepSeek models have.
void check_fixed_keys(Reader& reader) {
  reader.only("hidden_act", "silu");
  reader.only("mlp_bias", false);
  reader.only("attention_dropout", 0.0);
  reader.only("partial_rotary_factor", 1.0);
  reader.only("mtp_hidden_states_first", false);
  reader.only("is_decoder", false);
  reader.only("is_encoder_decoder", false);
  reader.only("add_cross_attention", false);
  reader.only("tie_encoder_decoder", false);
  reader.only("pruned_heads", Json::object());
  const Json* architectures = reader.find("architectures");
  if (architectures == nullptr) return;
  for (const Json& name : *architectures)
    if (!name.is_string() || !name.get_ref<const std::string&>().ends_with("ForCausalLM"))
      reader.reject("architectures", "DeepseekV2ForCausalLM or DeepseekV3ForCausalLM");
}

/// `rope_scaling` beside `rope_theta` (transformers 4), or all in `rope_parameters` (transformers 5).
void read_rope(Reader& reader, std::string_view where, ModelConfig& config) {
  const Json* old_style = reader.find("rope_scaling");
  const Json* new_style = reader.find("rope_parameters");
  if (old_style != nullptr && new_style != nullptr && *old_style != *new_style)
    reader.reject("rope_parameters", "to be given alone, or equal to rope_scaling");
  config.rope_theta = reader.number("rope_theta", 10000.0);
  const Json* given = new_style != nullptr ? new_style : old_style;
  if (given == nullptr || (given->is_object() && given->empty())) return;

  Reader rope(*given, where, new_style != nullptr ? "rope_parameters." : "rope_scaling.");
  const double theta = rope.number("rope_theta", config.rope_theta);
  if (reader.find("rope_theta") != nullptr && theta != config.rope_theta)
    rope.reject("rope_theta", "the same as the outer rope_theta");
  config.rope_theta = theta;
  rope.only("partial_rotary_factor", 1.0);
  const auto is_yarn = [&](std::string_view key, bool fallback) {
    return rope.choice<bool>(key, fallback, {{"yarn", true}, {"default", false}});
  };
  const bool yarn = is_yarn("rope_type", is_yarn("type", false));
  if (rope.find("type") != nullptr && is_yarn("type", yarn) != yarn)
    rope.reject("type", "the same as rope_type");
  if (yarn) {
    YarnScaling scaling;
    if (rope.find("factor") == nullptr) rope.reject("factor", "a number");
    scaling.factor = rope.number("factor", 1.0);
    // DeepSeek's code would take 4096, transformers max_position_embeddings.
    if (rope.find("original_max_position_embeddings") == nullptr)
      rope.reject("original_max_position_embeddings", "an integer");
    scaling.original_max_position_embeddings = rope.integer("original_max_position_embeddings", 0);
    scaling.beta_fast = rope.number("beta_fast", scaling.beta_fast);
    scaling.beta_slow = rope.number("beta_slow", scaling.beta_slow);
    scaling.mscale = rope.number("mscale", scaling.mscale);
    scaling.mscale_all_dim = rope.number("mscale_all_dim", scaling.mscale_all_dim);
    if (rope.find("attention_factor") != nullptr)
      scaling.attention_factor = rope.number("attention_factor", 1.0);
    rope.only("truncate", true);
    // Where just one of the two is set, DeepSeek's code and transformers scale differently.
    const bool both_or_neither = scaling.mscale_all_dim != 0
                                     ? rope.find("mscale") != nullptr && scaling.mscale != 0
                                     : scaling.mscale == 1.0;
    if (!both_or_neither && !scaling.attention_factor)
      rope.reject("mscale", "a positive number beside a positive mscale_all_dim, or neither");
    config.rope_scaling = scaling;
  }
  rope.finish();
}

/// `quantization_config` of the released FP8 checkpoints.
void read_quantization(Reader& reader, std::string_view where, ModelConfig& config) {
  const Json* given = reader.find("quantization_config");
  if (given == nullptr) return;
  Reader quantization(*given, where, "quantization_config.");
  if (quantization.string("quant_method", "") != "fp8") quantization.reject("quant_method", "fp8");
  quantization.only("fmt", "e4m3");
  // Activations are quantised on the fly or not at all: no scales of theirs are stored.
  quantization.only("activation_scheme", "dynamic");
  quantization.only("weight_block_size", Json::array({128, 128}));
  if (quantization.find("weight_block_size") == nullptr)
    quantization.reject("weight_block_size", "[128, 128]");
  Fp8Storage storage;
  storage.power_of_two_scales =
      quantization.choice<bool>("scale_fmt", false, {{"ue8m0", true}, {"float", false}});
  // Each tensor says its own type, so which ones are left unquantised is known from the file.
  quantization.ignore({"modules_to_not_convert", "dequantize"});
  quantization.finish();
  config.fp8 = storage;
}

void read_attention(Reader& reader, ModelConfig& config) {
  const bool v3 = config.family == ModelFamily::deepseek_v3;
  config.num_attention_heads = reader.integer("num_attention_heads", v3 ? 128 : 32);
  const std::int64_t kv_heads = reader.integer("num_key_value_heads", config.num_attention_heads);
  if (kv_heads != config.num_attention_heads)
    reader.reject("num_key_value_heads",
                  std::to_string(config.num_attention_heads) + " (num_attention_heads), as MLA has it");
  // Absent and null differ: null is the plain query projection.
  config.q_lora_rank = reader.integer("q_lora_rank", reader.has("q_lora_rank") ? 0 : 1536);
  config.kv_lora_rank = reader.integer("kv_lora_rank", 512);
  config.qk_nope_head_dim = reader.integer("qk_nope_head_dim", 128);
  config.qk_rope_head_dim = reader.integer("qk_rope_head_dim", 64);
  config.v_head_dim = reader.integer("v_head_dim", 128);
  config.attention_bias = reader.boolean("attention_bias", false);
  config.rope_interleave = reader.boolean("rope_interleave", true);
}

void read_experts(Reader& reader, ModelConfig& config) {
  const bool v3 = config.family == ModelFamily::deepseek_v3;
  const auto when_absent = [&](std::string_view key, std::int64_t absent, std::int64_t null) {
    return reader.has(key) ? null : absent;
  };
  config.first_k_dense_replace = reader.integer("first_k_dense_replace", v3 ? 3 : 0);
  // DeepSeek's code makes every moe_layer_freq-th layer a MoE one; transformers knows only 1.
  config.moe_layer_freq = reader.integer("moe_layer_freq", 1);
  config.moe_intermediate_size = reader.integer("moe_intermediate_size", v3 ? 2048 : 1407);
  config.n_routed_experts = aliased(reader, "n_routed_experts", v3 ? "num_local_experts" : "num_experts",
                                    when_absent("n_routed_experts", v3 ? 256 : 64, 0));
  config.n_shared_experts =
      reader.integer("n_shared_experts", when_absent("n_shared_experts", v3 ? 1 : 2, 0));
  config.num_experts_per_tok =
      reader.integer("num_experts_per_tok", when_absent("num_experts_per_tok", v3 ? 8 : 0, 0));
  config.n_group = reader.integer("n_group", when_absent("n_group", v3 ? 8 : 1, 1));
  config.topk_group = reader.integer("topk_group", when_absent("topk_group", v3 ? 4 : 1, 1));
  config.norm_topk_prob = reader.boolean("norm_topk_prob", v3);
  config.routed_scaling_factor = reader.number("routed_scaling_factor", v3 ? 2.5 : 1.0);
  config.scoring_func = reader.choice("scoring_func", v3 ? ScoringFunc::sigmoid : ScoringFunc::softmax,
                                      {{"softmax", ScoringFunc::softmax}, {"sigmoid", ScoringFunc::sigmoid}});
  config.topk_method = reader.choice("topk_method", v3 ? TopkMethod::noaux_tc : TopkMethod::greedy,
                                     {{"greedy", TopkMethod::greedy},
                                      {"group_limited_greedy", TopkMethod::group_limited_greedy},
                                      {"noaux_tc", TopkMethod::noaux_tc}});
  if (reader.find("aux_loss_alpha") != nullptr) config.aux_loss_alpha = reader.number("aux_loss_alpha", 0);
  if (reader.find("seq_aux") != nullptr) config.seq_aux = reader.boolean("seq_aux", true);
  config.num_nextn_predict_layers = aliased(reader, "num_nextn_predict_layers", "num_mtp_layers", v3 ? 1 : 0);
}

/// Ids beyond the vocabulary are let pass: the model can never produce them, and feeding one is an error.
void read_special_tokens(Reader& reader, ModelConfig& config) {
  config.bos_token_id = reader.integer("bos_token_id", -1);
  if (reader.find("bos_token_id") != nullptr && config.bos_token_id < 0)
    reader.reject("bos_token_id", "a token id");
  config.eos_token_ids = reader.integers("eos_token_id");
  for (const std::int64_t id : config.eos_token_ids)
    if (id < 0) reader.reject("eos_token_id", "a token id or a list of them");
}

}  // namespace

ModelConfig model_config_from_json(const Json& json, std::string_view where) {
  Reader reader(json, where, "");
  ModelConfig config;
  if (!reader.has("model_type")) reader.reject("model_type", "deepseek_v2, deepseek_v3 or kimi_k2");
  config.family = reader.choice("model_type", ModelFamily::deepseek_v3,
                                {{"deepseek_v2", ModelFamily::deepseek_v2},
                                 {"deepseek_v3", ModelFamily::deepseek_v3},
                                 {"kimi_k2", ModelFamily::deepseek_v3}});
  const bool v3 = config.family == ModelFamily::deepseek_v3;
  config.vocab_size = reader.integer("vocab_size", v3 ? 129280 : 102400);
  config.hidden_size = reader.integer("hidden_size", v3 ? 7168 : 4096);
  config.intermediate_size = reader.integer("intermediate_size", v3 ? 18432 : 11008);
  config.num_hidden_layers = reader.integer("num_hidden_layers", v3 ? 61 : 32);
  config.max_position_embeddings = reader.integer("max_position_embeddings", v3 ? 4096 : 2048);
  config.rms_norm_eps = reader.number("rms_norm_eps", 1e-6);
  config.initializer_range = reader.number("initializer_range", 0.02);
  config.tie_word_embeddings = reader.boolean("tie_word_embeddings", false);
  read_attention(reader, config);
  read_rope(reader, where, config);
  read_experts(reader, config);
  read_special_tokens(reader, config);
  read_quantization(reader, where, config);
  check_fixed_keys(reader);
  ignore_idle_keys(reader);
  reader.finish();
  validate_model_config(config, where);
  return config;
}

ModelConfig load_model_config(const std::filesystem::path& file) {
  return model_config_from_json(read_json_file(file), file.string());
}

OrderedJson model_config_to_json(const ModelConfig& config) {
  const bool v3 = config.family == ModelFamily::deepseek_v3;
  OrderedJson json;
  json["architectures"] = {v3 ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM"};
  json["model_type"] = v3 ? "deepseek_v3" : "deepseek_v2";
  json["vocab_size"] = config.vocab_size;
  json["hidden_size"] = config.hidden_size;
  json["intermediate_size"] = config.intermediate_size;
  json["moe_intermediate_size"] = config.moe_intermediate_size;
  json["num_hidden_layers"] = config.num_hidden_layers;
  json["num_attention_heads"] = config.num_attention_heads;
  json["num_key_value_heads"] = config.num_attention_heads;
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["hidden_act"] = "silu";
  json["rms_norm_eps"] = config.rms_norm_eps;
  json["initializer_range"] = config.initializer_range;
  json["tie_word_embeddings"] = config.tie_word_embeddings;

  json["q_lora_rank"] = config.q_lora_rank > 0 ? OrderedJson(config.q_lora_rank) : OrderedJson();
  json["kv_lora_rank"] = config.kv_lora_rank;
  json["qk_nope_head_dim"] = config.qk_nope_head_dim;
  json["qk_rope_head_dim"] = config.qk_rope_head_dim;
  json["v_head_dim"] = config.v_head_dim;
  json["attention_bias"] = config.attention_bias;
  json["attention_dropout"] = 0.0;
  json["rope_theta"] = config.rope_theta;
  if (v3) json["rope_interleave"] = config.rope_interleave;
  // The older spelling: transformers 5 reads it as well, and everything else reads only this one.
  json["rope_scaling"] = nullptr;
  if (config.rope_scaling) {
    const YarnScaling& yarn = *config.rope_scaling;
    OrderedJson& rope = json["rope_scaling"];
    rope["type"] = "yarn";
    rope["factor"] = yarn.factor;
    rope["original_max_position_embeddings"] = yarn.original_max_position_embeddings;
    rope["beta_fast"] = yarn.beta_fast;
    rope["beta_slow"] = yarn.beta_slow;
    rope["mscale"] = yarn.mscale;
    rope["mscale_all_dim"] = yarn.mscale_all_dim;
    if (yarn.attention_factor) rope["attention_factor"] = *yarn.attention_factor;
  }

  json["first_k_dense_replace"] = config.first_k_dense_replace;
  json["moe_layer_freq"] = config.moe_layer_freq;
  json["n_routed_experts"] = config.n_routed_experts;
  json["n_shared_experts"] = config.n_shared_experts;
  json["num_experts_per_tok"] = config.num_experts_per_tok;
  json["n_group"] = config.n_group;
  json["topk_group"] = config.topk_group;
  json["norm_topk_prob"] = config.norm_topk_prob;
  json["routed_scaling_factor"] = config.routed_scaling_factor;
  json["scoring_func"] = config.scoring_func == ScoringFunc::sigmoid ? "sigmoid" : "softmax";
  switch (config.topk_method) {
    case TopkMethod::greedy:
      json["topk_method"] = "greedy";
      break;
    case TopkMethod::group_limited_greedy:
      json["topk_method"] = "group_limited_greedy";
      break;
    case TopkMethod::noaux_tc:
      json["topk_method"] = "noaux_tc";
      break;
  }
  if (config.aux_loss_alpha) json["aux_loss_alpha"] = *config.aux_loss_alpha;
  if (config.seq_aux) json["seq_aux"] = *config.seq_aux;
  json["num_nextn_predict_layers"] = config.num_nextn_predict_layers;

  if (config.bos_token_id >= 0) json["bos_token_id"] = config.bos_token_id;
  if (config.eos_token_ids.size() == 1) json["eos_token_id"] = config.eos_token_ids.front();
  if (config.eos_token_ids.size() > 1) json["eos_token_id"] = config.eos_token_ids;
  if (config.fp8) {
    OrderedJson& quantization = json["quantization_config"];
    quantization["quant_method"] = "fp8";
    quantization["fmt"] = "e4m3";
    quantization["activation_scheme"] = "dynamic";
    quantization["weight_block_size"] = {config.fp8->block_rows, config.fp8->block_columns};
    if (config.fp8->power_of_two_scales) quantization["scale_fmt"] = "ue8m0";
  }
  return json;
}

}  // namespace fathom
