#pragma once

#include <string>
#include <vector>

#include "io/checkpoint_folder.h"
#include "model/config.h"
#include "model/weights.h"

namespace fathom {

/// How a checkpoint differs from what a config needs.
struct CheckpointMatch {
  struct WrongShape {
    ParameterSpec needed;
    Shape found;
  };
  /// What to compare with: the config, or, where the checkpoint lacks the MTP modules altogether, the config
  /// without them. transformers announces one for any DeepSeek-V3 that it saves, and never saves it.
  ModelConfig config;
  bool mtp_left_out = false;
  std::vector<std::string> missing;  // name, and the shape needed or why
  std::vector<WrongShape> wrong_shape;
  std::vector<std::string> surplus;  // has no place in the model

  [[nodiscard]] bool complete() const { return missing.empty() && wrong_shape.empty() && surplus.empty(); }
};

/// Compares names and shapes. The MTP modules' own copies of embedding and head, `rotary_emb.inv_freq`
/// buffers and a tied model's `lm_head.weight` are passed over.
CheckpointMatch match_checkpoint(const ModelConfig& config, const CheckpointFolder& checkpoint);

}  // namespace fathom
