#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "numerics/dtype.h"

namespace fathom {

/// The parts of a model, as memory is planned for them.
enum class WeightPart : std::uint8_t { attention, dense, shared_experts, routed_experts, vocabulary, other };
inline constexpr std::size_t kWeightParts = 6;
/// "attention", "dense layers", "shared experts", "routed experts", "embedding, head", "other" (routers,
/// norms, joints of MTP modules).
const char* weight_part_name(WeightPart part);

/// How much memory a parameter takes, its block scales included.
struct WeightSize {
  WeightPart part;
  std::int64_t layer;      // as in ParameterSpec
  std::int64_t expert;     // of a routed expert's: which; else -1
  std::uint64_t bytes;     // 0: the model has none
  bool is_read_each_step;  // by decoding without drafts; of a routed expert: where it is chosen
};

/// Of each parameter, in the order of `visit_parameters`.
std::vector<WeightSize> weight_sizes(const ModelConfig& config, const TransformerWeights& weights);
/// The same of weights as `synthetic_weights` makes them, without making them.
std::vector<WeightSize> synthetic_weight_sizes(const ModelConfig& config, DType type);

}  // namespace fathom
