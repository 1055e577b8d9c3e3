#include <initializer_list>
#include <utility>

#include "base/error.h"
#include "model/config.h"

namespace fathom {
namespace {

using Named = std::pair<std::string_view, std::int64_t>;

/// Far above every model there is, far below what would overflow when a few of them are multiplied.
constexpr std::int64_t kLargestSize = std::int64_t{1} << 24;
constexpr std::int64_t kMostLayers = 4096;
/// Expert networks in all layers: Kimi-K2 has 23,040. Bounds what a hostile file makes us allocate.
constexpr std::int64_t kMostExpertNetworks = std::int64_t{1} << 20;
constexpr double kMostParameters = 0x1p53;
/// Of factors and the like: squares of it are far from overflow, in f32 too.
constexpr double kLargestNumber = 1e12;

void check_range(std::string_view where, std::string_view key, std::int64_t value, std::int64_t least,
                 std::int64_t most) {
  require(least <= value && value <= most, "{}: {} is {}, expected {} to {}", where, key, value, least, most);
}

void check_positive(std::string_view where, std::string_view key, double value) {
  require(value > 0 && value <= kLargestNumber, "{}: {} is {}, expected a positive number up to {}", where,
          key, value, kLargestNumber);
}

void check_not_negative(std::string_view where, std::string_view key, double value) {
  require(value >= 0 && value <= kLargestNumber, "{}: {} is {}, expected a number from 0 up to {}", where,
          key, value, kLargestNumber);
}

void check_sizes(const ModelConfig& c, std::string_view where) {
  for (const auto& [key, value] : std::initializer_list<Named>{
           {"vocab_size", c.vocab_size},
           {"hidden_size", c.hidden_size},
           {"intermediate_size", c.intermediate_size},
           {"num_attention_heads", c.num_attention_heads},
           {"kv_lora_rank", c.kv_lora_rank},
           {"qk_nope_head_dim", c.qk_nope_head_dim},
           {"qk_rope_head_dim", c.qk_rope_head_dim},
           {"v_head_dim", c.v_head_dim},
           {"moe_layer_freq", c.moe_layer_freq},
       })
    check_range(where, key, value, 1, kLargestSize);
  check_range(where, "max_position_embeddings", c.max_position_embeddings, 1, std::int64_t{1} << 31);
  check_range(where, "num_hidden_layers", c.num_hidden_layers, 1, kMostLayers);
  check_range(where, "q_lora_rank", c.q_lora_rank, 0, kLargestSize);
  check_range(where, "first_k_dense_replace", c.first_k_dense_replace, 0, kLargestSize);
  check_range(where, "num_nextn_predict_layers", c.num_nextn_predict_layers, 0, 64);
  require(c.qk_rope_head_dim % 2 == 0, "{}: qk_rope_head_dim is {}, expected an even number (pairs rotate)",
          where, c.qk_rope_head_dim);
}

void check_numbers(const ModelConfig& c, std::string_view where) {
  check_positive(where, "rms_norm_eps", c.rms_norm_eps);
  check_positive(where, "routed_scaling_factor", c.routed_scaling_factor);
  check_not_negative(where, "initializer_range", c.initializer_range);
  require(c.rope_theta > 1 && c.rope_theta <= kLargestNumber,
          "{}: rope_theta is {}, expected a number above 1, up to {}", where, c.rope_theta, kLargestNumber);
  if (c.aux_loss_alpha) check_not_negative(where, "aux_loss_alpha", *c.aux_loss_alpha);
}

void check_yarn(const YarnScaling& yarn, std::string_view where) {
  require(yarn.factor >= 1 && yarn.factor <= kLargestNumber,
          "{}: rope_scaling.factor is {}, expected a number from 1 up to {}", where, yarn.factor,
          kLargestNumber);
  check_range(where, "rope_scaling.original_max_position_embeddings", yarn.original_max_position_embeddings,
              1, std::int64_t{1} << 31);
  check_positive(where, "rope_scaling.beta_slow", yarn.beta_slow);
  require(yarn.beta_fast >= yarn.beta_slow && yarn.beta_fast <= kLargestNumber,
          "{}: rope_scaling.beta_fast is {}, expected at least beta_slow ({})", where, yarn.beta_fast,
          yarn.beta_slow);
  check_not_negative(where, "rope_scaling.mscale", yarn.mscale);
  check_not_negative(where, "rope_scaling.mscale_all_dim", yarn.mscale_all_dim);
  if (yarn.attention_factor) check_positive(where, "rope_scaling.attention_factor", *yarn.attention_factor);
}

/// The combinations that the reference implementations define.
void check_routing_kind(const ModelConfig& c, std::string_view where) {
  if (c.family == ModelFamily::deepseek_v3) {
    require(c.scoring_func == ScoringFunc::sigmoid, "{}: scoring_func is softmax, deepseek_v3 needs sigmoid",
            where);
    require(c.topk_method == TopkMethod::noaux_tc, "{}: topk_method is not noaux_tc, which deepseek_v3 needs",
            where);
    return;
  }
  require(c.scoring_func == ScoringFunc::softmax, "{}: scoring_func is sigmoid, deepseek_v2 needs softmax",
          where);
  require(c.topk_method != TopkMethod::noaux_tc,
          "{}: topk_method is noaux_tc, deepseek_v2 needs greedy or group_limited_greedy", where);
  // DeepSeek's own code then normalises and leaves routed_scaling_factor out; transformers never
  // normalises.
  require(!c.norm_topk_prob,
          "{}: norm_topk_prob is true, expected false with deepseek_v2 (the references disagree on its "
          "meaning)",
          where);
  require(c.rope_interleave, "{}: rope_interleave is false, expected true with deepseek_v2", where);
  require(c.num_nextn_predict_layers == 0, "{}: num_nextn_predict_layers is {}, expected 0 with deepseek_v2",
          where, c.num_nextn_predict_layers);
}

void check_experts(const ModelConfig& c, std::string_view where) {
  check_range(where, "n_routed_experts", c.n_routed_experts, 0, kMostExpertNetworks);
  check_range(where, "n_shared_experts", c.n_shared_experts, 0, 1024);
  if (c.n_routed_experts == 0) return;
  check_routing_kind(c, where);
  check_range(where, "moe_intermediate_size", c.moe_intermediate_size, 1, kLargestSize);
  const std::int64_t layers = c.num_hidden_layers + c.num_nextn_predict_layers;
  require(layers * c.n_routed_experts <= kMostExpertNetworks,
          "{}: n_routed_experts is {} in each of {} layers, expected at most {} in all", where,
          c.n_routed_experts, layers, kMostExpertNetworks);
  check_range(where, "num_experts_per_tok", c.num_experts_per_tok, 1, c.n_routed_experts);
  check_range(where, "n_group", c.n_group, 1, c.n_routed_experts);
  require(c.n_routed_experts % c.n_group == 0,
          "{}: n_group is {}, expected a divisor of n_routed_experts ({})", where, c.n_group,
          c.n_routed_experts);
  check_range(where, "topk_group", c.topk_group, 1, c.n_group);
  if (c.topk_method == TopkMethod::greedy) return;
  const std::int64_t group_size = c.n_routed_experts / c.n_group;
  require(c.num_experts_per_tok <= c.topk_group * group_size,
          "{}: num_experts_per_tok is {}, expected at most {} (the experts in topk_group = {} groups of {})",
          where, c.num_experts_per_tok, c.topk_group * group_size, c.topk_group, group_size);
  require(c.topk_method != TopkMethod::noaux_tc || c.n_group == 1 || group_size >= 2,
          "{}: n_group is {}, expected groups of at least 2 experts (noaux_tc ranks them by their best two)",
          where, c.n_group);
}

/// Parameters in floating point, where nothing overflows.
double approximate_parameters(const ModelConfig& c) {
  const auto product = [](std::initializer_list<std::int64_t> sizes) {
    double result = 1;
    for (const std::int64_t size : sizes) result *= static_cast<double>(size);
    return result;
  };
  const std::int64_t layers = c.num_hidden_layers + c.num_nextn_predict_layers;
  const std::int64_t heads = c.num_attention_heads;
  const double query = c.q_lora_rank > 0 ? product({c.q_lora_rank, c.hidden_size}) +
                                               product({c.q_lora_rank, heads, c.qk_head_dim()})
                                         : product({c.hidden_size, heads, c.qk_head_dim()});
  const double attention = query + product({c.hidden_size, c.latent_dim()}) +
                           product({c.kv_lora_rank, heads, c.qk_nope_head_dim + c.v_head_dim}) +
                           product({c.hidden_size, heads, c.v_head_dim});
  const double mlp = product({3, c.hidden_size, c.intermediate_size});
  const double moe =
      product({3, c.hidden_size, c.moe_intermediate_size, c.n_routed_experts + c.n_shared_experts}) +
      product({c.n_routed_experts, c.hidden_size});
  return 2 * product({c.vocab_size, c.hidden_size}) +
         static_cast<double>(layers) * (attention + mlp + moe + product({2, c.hidden_size, c.hidden_size}));
}

}  // namespace

void validate_model_config(const ModelConfig& config, std::string_view where) {
  check_sizes(config, where);
  check_numbers(config, where);
  if (config.rope_scaling) check_yarn(*config.rope_scaling, where);
  check_experts(config, where);
  require(approximate_parameters(config) <= kMostParameters,
          "{}: hidden_size {} and the sizes beside it make {:.3g} parameters, expected at most {:.3g}", where,
          config.hidden_size, approximate_parameters(config), kMostParameters);
}

}  // namespace fathom
