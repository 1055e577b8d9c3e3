#include "model/fingerprint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "base/checksum.h"
#include "base/json.h"

namespace fathom {
namespace {

/// A few places of a tensor: training changes all of it.
void add_samples(const Tensor& tensor, Checksum& sum) {
  constexpr std::size_t kSample = 256;
  const std::span<const std::byte> bytes = tensor.bytes();
  const std::size_t size = std::min(kSample, bytes.size());
  for (const std::size_t begin : {std::size_t{0}, (bytes.size() - size) / 2, bytes.size() - size})
    sum.update(bytes.subspan(begin, size));
}

}  // namespace

std::uint64_t model_fingerprint(const ModelConfig& config, const TransformerWeights& weights) {
  Checksum sum;
  const std::string text = model_config_to_json(config).dump();
  sum.update(std::as_bytes(std::span(text)));
  TransformerWeights shared = weights;  // tensors share their storage
  visit_parameters(config, shared, [&](const ParameterSpec& spec, const Tensor& value, const Tensor* scale) {
    if (spec.expert > 0 || !value.defined()) return;
    sum.update(std::as_bytes(std::span(spec.name)));
    add_samples(value, sum);
    if (scale != nullptr && scale->defined()) add_samples(*scale, sum);
  });
  // What adapters add decides what latents are, too.
  visit_linear_maps(config, shared, [&](const ParameterSpec& spec, const LinearWeight& map) {
    if (!map.adapter.defined()) return;
    sum.update(std::as_bytes(std::span(spec.name)));
    sum.update(map.adapter.down.bytes());
    sum.update(map.adapter.up.bytes());
  });
  return sum.value();
}

}  // namespace fathom
