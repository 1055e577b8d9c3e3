#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "model/config.h"

namespace fathom::test {

/// A valid DeepSeek-V3 model of a few thousand parameters: 1 dense and 2 MoE layers, 8 experts in 4 groups, 1
/// shared expert, sigmoid routing with bias, q-LoRA, no YaRN, no MTP, untied. No two sizes are equal, so a
/// mixed-up dimension shows. Tests change what they are about.
ModelConfig tiny_v3();

/// The same with DeepSeek-V2's softmax routing: greedy, or limited to groups.
ModelConfig tiny_v2(TopkMethod topk_method = TopkMethod::greedy);

/// YaRN with a small original length, so that positions within a test's reach are scaled.
YarnScaling tiny_yarn();

struct NamedConfig {
  std::string name;  // of letters and digits, for parameterised tests
  ModelConfig config;
};
inline std::ostream& operator<<(std::ostream& out, const NamedConfig& model) {
  return out << model.name;
}

/// Every kind of model: both families, each routing, with and without q-LoRA, YaRN, 0 to 2 shared experts,
/// tied and untied, attention biases, MTP of depth 0 to 2, only dense layers.
std::vector<NamedConfig> tiny_models();

}  // namespace fathom::test
