#include "infer/weight_sizes.h"

#include <algorithm>

#include "model/synthetic_weights.h"

namespace fathom {
namespace {

WeightPart part_of(const ParameterSpec& spec) {
  const auto names = [&](const char* part) { return spec.name.find(part) != std::string::npos; };
  switch (spec.kind) {
    case ParameterKind::embedding:
    case ParameterKind::head:
      return WeightPart::vocabulary;
    case ParameterKind::expert:
      return WeightPart::routed_experts;
    case ParameterKind::linear:
      if (names(".self_attn.")) return WeightPart::attention;
      if (names(".shared_experts.")) return WeightPart::shared_experts;
      return names(".mlp.") ? WeightPart::dense : WeightPart::other;
    case ParameterKind::norm:
    case ParameterKind::router:
    case ParameterKind::router_bias:
    case ParameterKind::bias:
      return WeightPart::other;
  }
  return WeightPart::other;
}

WeightSize size_of(const ModelConfig& config, const ParameterSpec& spec, std::uint64_t bytes) {
  // A tied embedding works as the head, too.
  const bool is_read = spec.layer < config.num_hidden_layers &&
                       (spec.kind != ParameterKind::embedding || config.tie_word_embeddings);
  return {part_of(spec), spec.layer, spec.expert, bytes, is_read};
}

}  // namespace

const char* weight_part_name(WeightPart part) {
  switch (part) {
    case WeightPart::attention:
      return "attention";
    case WeightPart::dense:
      return "dense layers";
    case WeightPart::shared_experts:
      return "shared experts";
    case WeightPart::routed_experts:
      return "routed experts";
    case WeightPart::vocabulary:
      return "embedding, head";
    case WeightPart::other:
      return "other";
  }
  return "other";
}

std::vector<WeightSize> weight_sizes(const ModelConfig& config, const TransformerWeights& weights) {
  TransformerWeights views = weights;  // `visit_parameters` wants to be able to change them
  std::vector<WeightSize> sizes;
  visit_parameters(config, views, [&](const ParameterSpec& spec, const Tensor& value, const Tensor* scale) {
    std::uint64_t bytes = value.defined() ? value.byte_size() : 0;
    if (scale != nullptr && scale->defined()) bytes += scale->byte_size();
    sizes.push_back(size_of(config, spec, bytes));
  });
  return sizes;
}

std::vector<WeightSize> synthetic_weight_sizes(const ModelConfig& config, DType type) {
  std::vector<WeightSize> sizes;
  for (const ParameterSpec& spec : parameter_specs(config))
    sizes.push_back(
        size_of(config, spec, stored_bytes(synthetic_type(spec, type), element_count(spec.shape))));
  return sizes;
}

}  // namespace fathom
