#pragma once

#include <cstdint>
#include <string_view>

#include "io/gguf.h"
#include "model/config.h"

namespace fathom {

/// The config that a GGUF file of architecture "deepseek2" describes: DeepSeek-V2, -V3, -R1, Moonlight,
/// Kimi-K2 and what is built like them. Whatever the metadata leave out is as in llama.cpp (softmax routing
/// without groups, no normalisation), but for sigmoid routing where routers have biases, and for the groups
/// of experts of the released DeepSeek-V2 and -V3, which older files do not name and their sizes give away.
/// Numbers stored in f32 are taken for the shortest decimals that they may stand for.
///
/// Throws `Error` naming the file and the key when one is missing, of another type, or says what Fathom does
/// not compute.
ModelConfig gguf_model_config(const GgufFile& file);

/// What the tensors say of a config that the metadata need not.
struct GgufTensorFacts {
  std::int64_t vocab_size = 0;  // rows of the embedding
  bool has_head = true;         // else it is the embedding
  bool has_router_bias = false;
};
/// The same from metadata and tensors alone. @param where  names the file in messages
ModelConfig gguf_model_config(const GgufMetadata& metadata, const GgufTensorFacts& facts,
                              std::string_view where);

/// The same to be written, in the order of llama.cpp's converter; `general.architecture` comes first. Throws
/// `Error` naming the key of what the format cannot say: attention biases, rope_interleave false,
/// moe_layer_freq.
/// @param split_kv_b  whether kv_b_proj is stored in two halves (model/gguf_names.h): other keys describe
/// heads then
GgufMetadata gguf_config_metadata(const ModelConfig& config, bool split_kv_b);

}  // namespace fathom
