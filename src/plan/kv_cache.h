#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"

namespace fathom {

/// What a model keeps of each token while it generates.
struct CacheShape {
  bool is_latent = false;             // MLA: one latent and one rotary key for all heads
  std::int64_t layers = 0;            // those that have a cache, without MTP modules
  std::int64_t values_per_layer = 0;  // MLA: kv_lora_rank + qk_rope_head_dim; else 2 · kv heads · head_dim
  std::int64_t most_positions = 0;    // max_position_embeddings; 0: not said

  [[nodiscard]] std::int64_t values_per_token() const { return layers * values_per_layer; }
};

/// Reads it from a Hugging Face config.json of a model with multi-head latent attention, or with heads whose
/// keys and values are shared by groups of queries (Llama, Qwen and the like). Throws `Error` naming the key
/// that is missing or out of range.
CacheShape cache_shape(const Json& config, std::string_view where);

}  // namespace fathom
