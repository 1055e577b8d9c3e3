#include <fmt/core.h>

#include <initializer_list>
#include <string_view>
#include <utility>

#include "model/weights.h"

namespace fathom {
namespace {

using Visit = std::function<void(const ParameterSpec&, Tensor& value, Tensor* scale)>;
using VisitMap = std::function<void(const ParameterSpec&, LinearWeight& map)>;

/// Walks the parameters of one model and names each.
class Walk {
 public:
  /// @param visit_map  called behind `visit` of a linear map's matrix; may be empty
  Walk(const ModelConfig& config, const Visit& visit, const VisitMap& visit_map = {})
      : config_(config), visit_(visit), visit_map_(visit_map) {}

  void run(TransformerWeights& weights) {
    weights.layers.resize(static_cast<std::size_t>(config_.num_hidden_layers));
    weights.mtp.resize(static_cast<std::size_t>(config_.num_nextn_predict_layers));
    const Size vocabulary{config_.vocab_size, "vocab_size"};
    tensor("model.embed_tokens.weight", {vocabulary, hidden()}, ParameterKind::embedding,
           weights.embed_tokens);
    for (BlockWeights& block : weights.layers) {
      ++layer_;
      this->block(block);
    }
    const std::int64_t last = std::exchange(layer_, -1);
    norm("model.norm.weight", hidden(), weights.norm);
    if (!config_.tie_word_embeddings)
      tensor("lm_head.weight", {vocabulary, hidden()}, ParameterKind::head, weights.lm_head.weight);
    layer_ = last;
    for (MtpWeights& module : weights.mtp) {
      ++layer_;
      mtp(module);
    }
  }

 private:
  /// A size with the name that config.json has for it.
  struct Size {
    std::int64_t value;
    std::string_view name;
  };

  ParameterSpec tensor(std::string name, std::initializer_list<Size> sizes, ParameterKind kind, Tensor& value,
                       Tensor* scale = nullptr) {
    ParameterSpec spec{std::move(name), {}, kind, layer_, index_++, expert_, {}};
    for (const Size& size : sizes) {
      spec.shape.push_back(size.value);
      spec.sizes += fmt::format("{}{}", spec.sizes.empty() ? "" : " × ", size.name);
    }
    visit_(spec, value, scale);
    return spec;
  }

  /// "model.layers.3." and `rest`.
  [[nodiscard]] std::string at_layer(std::string_view rest) const {
    return fmt::format("model.layers.{}.{}", layer_, rest);
  }

  [[nodiscard]] Size hidden() const { return {config_.hidden_size, "hidden_size"}; }

  void norm(std::string name, Size width, Tensor& value) {
    tensor(std::move(name), {width}, ParameterKind::norm, value);
  }

  void linear(std::string_view name, Size out, Size in, LinearWeight& w, bool bias = false,
              ParameterKind kind = ParameterKind::linear) {
    const ParameterSpec spec =
        tensor(at_layer(fmt::format("{}.weight", name)), {out, in}, kind, w.weight, &w.weight_scale_inv);
    if (visit_map_) visit_map_(spec, w);
    if (bias) tensor(at_layer(fmt::format("{}.bias", name)), {out}, ParameterKind::bias, w.bias);
  }

  /// Biases are where the references have them: on the maps from and to the hidden size, save q_proj.
  void attention(MlaWeights& mla) {
    const ModelConfig& c = config_;
    const Size queries{c.num_attention_heads * c.qk_head_dim(),
                       "num_attention_heads · (qk_nope_head_dim + qk_rope_head_dim)"};
    const Size latent{c.kv_lora_rank, "kv_lora_rank"};
    if (c.q_lora_rank > 0) {
      const Size rank{c.q_lora_rank, "q_lora_rank"};
      linear("self_attn.q_a_proj", rank, hidden(), mla.q_a_proj, c.attention_bias);
      norm(at_layer("self_attn.q_a_layernorm.weight"), rank, mla.q_a_layernorm);
      linear("self_attn.q_b_proj", queries, rank, mla.q_b_proj);
    } else {
      linear("self_attn.q_proj", queries, hidden(), mla.q_proj);
    }
    linear("self_attn.kv_a_proj_with_mqa", {c.latent_dim(), "kv_lora_rank + qk_rope_head_dim"}, hidden(),
           mla.kv_a_proj_with_mqa, c.attention_bias);
    norm(at_layer("self_attn.kv_a_layernorm.weight"), latent, mla.kv_a_layernorm);
    linear("self_attn.kv_b_proj",
           {c.num_attention_heads * (c.qk_nope_head_dim + c.v_head_dim),
            "num_attention_heads · (qk_nope_head_dim + v_head_dim)"},
           latent, mla.kv_b_proj);
    linear("self_attn.o_proj", hidden(),
           {c.num_attention_heads * c.v_head_dim, "num_attention_heads · v_head_dim"}, mla.o_proj,
           c.attention_bias);
  }

  void mlp(std::string_view name, Size width, MlpWeights& w, ParameterKind kind = ParameterKind::linear) {
    linear(fmt::format("{}.gate_proj", name), width, hidden(), w.gate_proj, false, kind);
    linear(fmt::format("{}.up_proj", name), width, hidden(), w.up_proj, false, kind);
    linear(fmt::format("{}.down_proj", name), hidden(), width, w.down_proj, false, kind);
  }

  void moe(MoeWeights& w) {
    const ModelConfig& c = config_;
    const Size experts{c.n_routed_experts, "n_routed_experts"};
    tensor(at_layer("mlp.gate.weight"), {experts, hidden()}, ParameterKind::router, w.router);
    if (c.topk_method == TopkMethod::noaux_tc)
      tensor(at_layer("mlp.gate.e_score_correction_bias"), {experts}, ParameterKind::router_bias,
             w.e_score_correction_bias);
    w.experts.resize(static_cast<std::size_t>(c.n_routed_experts));
    for (std::size_t e = 0; e < w.experts.size(); ++e) {
      expert_ = static_cast<std::int64_t>(e);
      mlp(fmt::format("mlp.experts.{}", e), {c.moe_intermediate_size, "moe_intermediate_size"}, w.experts[e],
          ParameterKind::expert);
    }
    expert_ = -1;
    if (c.n_shared_experts > 0)
      mlp("mlp.shared_experts",
          {c.n_shared_experts * c.moe_intermediate_size, "n_shared_experts · moe_intermediate_size"},
          w.shared_experts);
  }

  void block(BlockWeights& w) {
    norm(at_layer("input_layernorm.weight"), hidden(), w.input_layernorm);
    attention(w.self_attn);
    norm(at_layer("post_attention_layernorm.weight"), hidden(), w.post_attention_layernorm);
    if (config_.is_moe_layer(layer_)) {
      moe(w.moe);
    } else {
      mlp("mlp", {config_.intermediate_size, "intermediate_size"}, w.mlp);
    }
  }

  /// `eh_proj` is never FP8: the released FP8 checkpoint keeps it in BF16.
  void mtp(MtpWeights& w) {
    norm(at_layer("enorm.weight"), hidden(), w.enorm);
    norm(at_layer("hnorm.weight"), hidden(), w.hnorm);
    tensor(at_layer("eh_proj.weight"), {hidden(), {2 * config_.hidden_size, "2 · hidden_size"}},
           ParameterKind::linear, w.eh_proj.weight);
    block(w.block);
    norm(at_layer("shared_head.norm.weight"), hidden(), w.shared_head_norm);
  }

  const ModelConfig& config_;
  const Visit& visit_;
  VisitMap visit_map_;
  std::int64_t layer_ = -1;
  std::int64_t expert_ = -1;
  std::size_t index_ = 0;  // of the next parameter
};

}  // namespace

void visit_parameters(const ModelConfig& config, TransformerWeights& weights, const Visit& visit) {
  Walk(config, visit).run(weights);
}

void visit_linear_maps(const ModelConfig& config, TransformerWeights& weights, const VisitMap& visit) {
  Walk(
      config, [](const ParameterSpec&, Tensor&, Tensor*) {}, visit)
      .run(weights);
}

std::vector<ParameterSpec> parameter_specs(const ModelConfig& config) {
  std::vector<ParameterSpec> specs;
  TransformerWeights places;
  visit_parameters(config, places,
                   [&](const ParameterSpec& spec, Tensor&, Tensor*) { specs.push_back(spec); });
  return specs;
}

ParameterCounts count_parameters(const ModelConfig& config) {
  ParameterCounts counts;
  std::int64_t embedding = 0;
  std::int64_t experts = 0;
  std::int64_t mtp = 0;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const std::int64_t size = element_count(spec.shape);
    if (spec.layer >= config.num_hidden_layers) {
      mtp += size;
      continue;
    }
    counts.total += size;
    if (spec.kind == ParameterKind::embedding) embedding = size;
    if (spec.kind == ParameterKind::expert) experts += size;
  }
  counts.activated = counts.total - experts;
  if (config.n_routed_experts > 0)
    counts.activated += experts / config.n_routed_experts * config.num_experts_per_tok;
  // A tied embedding works as the head too, so it stays active.
  counts.activated_without_input_embedding = counts.activated - (config.tie_word_embeddings ? 0 : embedding);
  if (config.num_nextn_predict_layers > 0) counts.mtp_module = mtp / config.num_nextn_predict_layers;
  return counts;
}

}  // namespace fathom
