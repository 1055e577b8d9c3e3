#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model/weights.h"

namespace fathom {

/// The architecture name of DeepSeek-V2 and -V3 models in GGUF files, which begins the keys of their config.
inline constexpr std::string_view kGgufArchitecture = "deepseek2";

/// Where GGUF files keep a parameter.
struct GgufPlace {
  std::string tensor;
  /// Of a routed expert's: its index in the first dimension of the merged tensor [experts, out, in]; else -1.
  std::int64_t expert = -1;
};

/// "model.layers.3.mlp.experts.7.up_proj.weight" is number 7 of "blk.3.ffn_up_exps.weight". Throws `Error`
/// for a parameter that the format has no place for: biases of attention.
GgufPlace gguf_place(const ParameterSpec& spec);

/// "blk.3." and `rest`.
std::string gguf_layer_name(std::int64_t layer, std::string_view rest);

/// kv_b_proj taken apart, as files since 2025 have it.
inline constexpr std::string_view kGgufKeyHalf =
    "attn_k_b.weight";  // [heads, kv_lora_rank, qk_nope_head_dim]
inline constexpr std::string_view kGgufValueHalf = "attn_v_b.weight";  // [heads, v_head_dim, kv_lora_rank]
inline constexpr std::string_view kGgufBothHalves = "attn_kv_b.weight";

// Where the routed experts are in a pack beside the file (model/expert_pack.h): its name, in the same folder,
// and its id.
inline constexpr std::string_view kGgufPackKey = "fathom.expert_pack";
inline constexpr std::string_view kGgufPackIdKey = "fathom.expert_pack.id";

}  // namespace fathom
