#include "plan/kv_cache.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace fathom {
namespace {

constexpr std::int64_t kMostSize = 1 << 24;  // products of three stay in range

bool has_value(const Json& config, const char* key) {
  const auto found = config.find(key);
  return found != config.end() && !found->is_null();
}

std::int64_t cache_size(const Json& config, const char* key, std::string_view where) {
  require(has_value(config, key), "{}: \"{}\" is missing", where, key);
  const Json& value = config[key];
  require(value.is_number_integer() && value >= 1 && value <= kMostSize,
          "{}: \"{}\" must be a whole number of 1 to {}", where, key, kMostSize);
  return value.get<std::int64_t>();
}

}  // namespace

CacheShape cache_shape(const Json& config, std::string_view where) {
  require(config.is_object(), "{}: a model's config must be an object", where);
  CacheShape shape;
  shape.layers = cache_size(config, "num_hidden_layers", where);
  if (has_value(config, "max_position_embeddings"))
    shape.most_positions = cache_size(config, "max_position_embeddings", where);
  shape.is_latent = has_value(config, "kv_lora_rank");
  if (shape.is_latent) {
    shape.values_per_layer =
        cache_size(config, "kv_lora_rank", where) + cache_size(config, "qk_rope_head_dim", where);
    return shape;
  }
  const std::int64_t heads = cache_size(config, "num_attention_heads", where);
  const std::int64_t kv_heads =
      has_value(config, "num_key_value_heads") ? cache_size(config, "num_key_value_heads", where) : heads;
  if (has_value(config, "head_dim")) {
    shape.values_per_layer = 2 * kv_heads * cache_size(config, "head_dim", where);
  } else {
    const std::int64_t hidden = cache_size(config, "hidden_size", where);
    require(hidden % heads == 0, "{}: hidden_size {} is no multiple of num_attention_heads {}", where, hidden,
            heads);
    shape.values_per_layer = 2 * kv_heads * (hidden / heads);
  }
  return shape;
}

}  // namespace fathom
