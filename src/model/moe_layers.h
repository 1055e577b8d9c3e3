#pragma once

#include <cstddef>
#include <cstdint>

#include "model/config.h"

namespace fathom {

/// MoE layers among the first `end` ones, the modules' among them: layer num_hidden_layers + k is MTP module
/// k.
inline std::size_t moe_layers_before(const ModelConfig& config, std::int64_t end) {
  std::size_t count = 0;
  for (std::int64_t i = 0; i < end; ++i) count += config.is_moe_layer(i) ? 1 : 0;
  return count;
}
/// Those of a model with its modules.
inline std::size_t count_moe_layers(const ModelConfig& config) {
  return moe_layers_before(config, config.num_hidden_layers + config.num_nextn_predict_layers);
}

}  // namespace fathom
