#include "model/load.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "io/checkpoint_folder.h"
#include "model/checkpoint_match.h"
#include "model/read_as_stored.h"
#include "numerics/block_scale.h"
#include "numerics/convert.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

/// What a checkpoint holds, against what its config needs.
class Loader {
 public:
  explicit Loader(const std::filesystem::path& folder)
      : config_(load_model_config(folder / "config.json")), checkpoint_(folder) {
    const CheckpointMatch match = match_checkpoint(config_, checkpoint_);
    if (match.mtp_left_out)
      log_info("{}: no weights of the {} MTP module(s) that config.json announces; going on without",
               folder.string(), config_.num_nextn_predict_layers);
    config_ = match.config;
    require(match.missing.empty(), "{}: {} tensor(s) that config.json needs are missing, the first is {}",
            folder.string(), match.missing.size(), match.missing.empty() ? "" : match.missing.front());
    require(match.surplus.empty(),
            "{}: {} tensor(s) have no place in the model that config.json describes, the first is {}",
            folder.string(), match.surplus.size(),
            match.surplus.empty() ? "" : printable(match.surplus.front()));
  }

  [[nodiscard]] const ModelConfig& config() const { return config_; }

  /// The tensor as stored, its shape and type checked.
  [[nodiscard]] Tensor stored(const ParameterSpec& spec, bool may_be_fp8) const {
    Tensor tensor = checkpoint_.get(spec.name, spec.shape, spec.sizes);
    const bool fits = is_plain_float(tensor.dtype()) || (may_be_fp8 && tensor.dtype() == DType::f8_e4m3);
    require(fits, "{}: tensor {} is {}, expected F32, BF16{}", checkpoint_.file_of(spec.name).path().string(),
            spec.name, dtype_name(tensor.dtype()), may_be_fp8 ? ", F16 or F8_E4M3" : " or F16");
    return tensor;
  }

  /// The block scales of an FP8 tensor; undefined for others.
  [[nodiscard]] Tensor scale(const ParameterSpec& spec, const Tensor& tensor) const {
    if (tensor.dtype() != DType::f8_e4m3) return {};
    const std::string name = scale_name(spec.name);
    Tensor scale = checkpoint_.get(name, block_scale_shape(spec.shape), "a scale for each 128 × 128 block");
    require(scale.dtype() == DType::f32, "{}: tensor {} is {}, expected F32",
            checkpoint_.file_of(name).path().string(), name, dtype_name(scale.dtype()));
    return scale;
  }

 private:
  ModelConfig config_;
  CheckpointFolder checkpoint_;
};

/// The place of element `index` in a tensor of `shape`: "[5, 17]".
std::string place_text(const Shape& shape, std::int64_t index) {
  Shape place(shape.size());
  for (std::size_t d = shape.size(); d-- > 0; index /= shape[d]) place[d] = index % shape[d];
  return shape_text(place);
}

std::optional<std::string> non_finite_value(const std::string& name, const Tensor& tensor) {
  constexpr std::int64_t kPiece = 1 << 14;  // elements widened at a time
  std::vector<float> values(kPiece);
  const auto* bytes = static_cast<const std::byte*>(tensor.data());
  for (std::int64_t at = 0; at < tensor.size(); at += kPiece) {
    const std::int64_t count = std::min(kPiece, tensor.size() - at);
    widen_to_f32(bytes + stored_bytes(tensor.dtype(), at), tensor.dtype(), count, values.data());
    for (std::int64_t i = 0; i < count; ++i) {
      const float value = values[static_cast<std::size_t>(i)];
      if (!std::isfinite(value))
        return fmt::format("{}{} is {}", name, place_text(tensor.shape(), at + i), value);
    }
  }
  return std::nullopt;
}

}  // namespace

bool is_read_as_stored(ParameterKind kind) {
  switch (kind) {
    case ParameterKind::embedding:
    case ParameterKind::head:
    case ParameterKind::linear:
    case ParameterKind::expert:
      return true;
    case ParameterKind::norm:
    case ParameterKind::router:
    case ParameterKind::router_bias:
    case ParameterKind::bias:
      return false;
  }
  return false;
}

LoadedModel load_model(const std::filesystem::path& folder) {
  const Loader loader(folder);
  LoadedModel model{loader.config(), {}};
  visit_parameters(model.config, model.weights, [&](const ParameterSpec& spec, Tensor& value, Tensor* scale) {
    value = loader.stored(spec, scale != nullptr);
    if (scale != nullptr) *scale = loader.scale(spec, value);
    if (!is_read_as_stored(spec.kind)) value = to_f32(value);
  });
  tie_head(model.config, model.weights);
  return model;
}

LoadedModel load_model_f32(const std::filesystem::path& folder, Tensor* arena, const RowsKept& kept) {
  const Loader loader(folder);
  LoadedModel model{loader.config(), zero_weights(loader.config(), arena, DType::f32, kept)};
  visit_parameters(model.config, model.weights, [&](const ParameterSpec& spec, Tensor& value, Tensor* scale) {
    if (!value.defined()) return;
    const Tensor stored = loader.stored(spec, scale != nullptr);
    const Tensor wide = to_f32(stored, loader.scale(spec, stored));
    std::memcpy(value.data(), wide.data(), value.byte_size());
  });
  return model;
}

std::optional<std::string> find_non_finite(const ModelConfig& config, const TransformerWeights& weights) {
  TransformerWeights views =
      weights;  // shares the tensors; `visit_parameters` wants to be able to change them
  std::optional<std::string> found;
  visit_parameters(config, views, [&](const ParameterSpec& spec, Tensor& value, Tensor* scale) {
    if (!found && value.defined()) found = non_finite_value(spec.name, value);
    if (!found && scale != nullptr && scale->defined())
      found = non_finite_value(scale_name(spec.name), *scale);
  });
  return found;
}

}  // namespace fathom
