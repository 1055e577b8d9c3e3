#include "model/gguf_names.h"

#include <fmt/core.h>

#include <array>

#include "base/error.h"

namespace fathom {
namespace {

struct Pair {
  std::string_view ours;  // of the whole model, or what follows "model.layers.N."
  std::string_view gguf;  // the same of "blk.N."
};

constexpr std::array<Pair, 3> kModelNames = {{
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
}};

constexpr std::array<Pair, 22> kLayerNames = {{
    {"input_layernorm.weight", "attn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.q_a_proj.weight", "attn_q_a.weight"},
    {"self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"},
    {"self_attn.q_b_proj.weight", "attn_q_b.weight"},
    {"self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"},
    {"self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"},
    {"self_attn.kv_b_proj.weight", kGgufBothHalves},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
    {"mlp.gate.weight", "ffn_gate_inp.weight"},
    {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
    {"mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"},
    {"mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"},
    {"mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"},
    {"enorm.weight", "nextn.enorm.weight"},
    {"hnorm.weight", "nextn.hnorm.weight"},
    {"eh_proj.weight", "nextn.eh_proj.weight"},
    {"shared_head.norm.weight", "nextn.shared_head_norm.weight"},
}};

constexpr std::array<Pair, 3> kExpertNames = {{
    {"gate_proj.weight", "ffn_gate_exps.weight"},
    {"up_proj.weight", "ffn_up_exps.weight"},
    {"down_proj.weight", "ffn_down_exps.weight"},
}};

template <std::size_t n>
std::string_view look_up(const std::array<Pair, n>& names, std::string_view ours, const ParameterSpec& spec) {
  for (const Pair& pair : names)
    if (pair.ours == ours) return pair.gguf;
  fail("{}: GGUF has no place for this parameter in a {} model; save the model as safetensors", spec.name,
       kGgufArchitecture);
}

}  // namespace

std::string gguf_layer_name(std::int64_t layer, std::string_view rest) {
  return fmt::format("blk.{}.{}", layer, rest);
}

GgufPlace gguf_place(const ParameterSpec& spec) {
  const std::string_view name = spec.name;
  if (spec.layer < 0) return {std::string(look_up(kModelNames, name, spec))};
  if (spec.expert >= 0) {
    const std::string prefix = fmt::format("model.layers.{}.mlp.experts.{}.", spec.layer, spec.expert);
    return {gguf_layer_name(spec.layer, look_up(kExpertNames, name.substr(prefix.size()), spec)),
            spec.expert};
  }
  const std::string prefix = fmt::format("model.layers.{}.", spec.layer);
  return {gguf_layer_name(spec.layer, look_up(kLayerNames, name.substr(prefix.size()), spec))};
}

}  // namespace fathom
