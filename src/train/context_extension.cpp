#include "train/context_extension.h"

#include <cmath>

#include "base/error.h"

namespace fathom {

ModelConfig extend_context(ModelConfig config, double factor) {
  constexpr double kMostPositions = 1 << 24;
  require(std::isfinite(factor) && factor > 1, "the context can be extended by a factor above 1, not by {}",
          factor);
  require(
      !config.rope_scaling,
      "the config has rope_scaling with factor {} already: leave the extension out and go on with a longer "
      "training.sequence_length",
      config.rope_scaling ? config.rope_scaling->factor : 1.0);
  const double positions = std::floor(factor * static_cast<double>(config.max_position_embeddings));
  require(positions <= kMostPositions, "{} times {} positions are too many: at most {}", factor,
          config.max_position_embeddings, kMostPositions);
  YarnScaling yarn;
  yarn.factor = factor;
  yarn.original_max_position_embeddings = config.max_position_embeddings;
  yarn.mscale = 1.0;
  yarn.mscale_all_dim = 1.0;
  config.rope_scaling = yarn;
  config.max_position_embeddings = static_cast<std::int64_t>(positions);
  return config;
}

}  // namespace fathom
