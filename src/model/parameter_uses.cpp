#include "model/parameter_uses.h"

namespace fathom {

double uses_per_token(const ModelConfig& config, const ParameterSpec& spec) {
  switch (spec.kind) {
    case ParameterKind::expert:
      return static_cast<double>(config.num_experts_per_tok) / static_cast<double>(config.n_routed_experts);
    case ParameterKind::embedding:
      return 0;
    case ParameterKind::head:
      return 1 + static_cast<double>(config.num_nextn_predict_layers);
    default:
      return 1;
  }
}

}  // namespace fathom
