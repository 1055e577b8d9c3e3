#pragma once

#include "model/config.h"

namespace fathom {

/// The config for training on texts `factor` times as long as the model was made for: YaRN from its
/// `max_position_embeddings` on with the settings of the released models (beta 32 and 1, mscale 1), as the
/// technical report extends them (section 4.3). The weights keep their shapes and their meaning up to the
/// factor, and a few hundred steps on long texts adapt them.
/// Throws `Error` when the factor is not above 1, when the config is extended already, and when the positions
/// would be too many.
ModelConfig extend_context(ModelConfig config, double factor);

}  // namespace fathom
