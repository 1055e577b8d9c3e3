#include "model/save.h"

#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "io/checkpoint_writer.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

constexpr std::string_view kConfigFileName = "config.json";

DType stored_type(const ParameterSpec& spec, bool may_be_fp8, DType wanted) {
  if (spec.kind == ParameterKind::router_bias) return DType::f32;
  return wanted == DType::f8_e4m3 && !may_be_fp8 ? DType::bf16 : wanted;
}

/// What `transformers` calls the type that computations are meant to be in.
std::string_view torch_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::f16:
      return "float16";
    case DType::bf16:
    case DType::f8_e4m3:
      return "bfloat16";
    default:
      fail("models are stored as F32, BF16, F16 or F8_E4M3, not as {}", dtype_name(dtype));
  }
}

bool wants_power_of_two_scales(const SaveOptions& options) {
  return options.fp8_scales == ScaleFormat::power_of_two;
}

std::string config_text(ModelConfig config, const SaveOptions& options) {
  config.fp8.reset();
  if (options.dtype == DType::f8_e4m3)
    config.fp8 = Fp8Storage{kScaleBlock, kScaleBlock, wants_power_of_two_scales(options)};
  OrderedJson json = model_config_to_json(config);
  json["torch_dtype"] = torch_name(options.dtype);
  return json.dump(2) + "\n";
}

/// @param keep_fp8  whether FP8 codes may be copied: their scales are of the format that is asked for
void write_parameter(CheckpointWriter& writer, const StoredTensor& target, const Tensor& value,
                     const Tensor* scale, bool keep_fp8) {
  if (value.dtype() != DType::f8_e4m3) {
    writer.write(target.name, value);
  } else if (target.dtype == DType::f8_e4m3 && keep_fp8) {
    writer.write(target.name, BlockScaled{value, *scale});
  } else {
    writer.write(target.name, to_f32(value, *scale));
  }
}

bool holds(const std::filesystem::path& file, std::string_view text) {
  std::error_code error;
  return std::filesystem::file_size(file, error) == text.size() && !error &&
         read_text_file(file, text.size()) == text;
}

}  // namespace

void save_model(const std::filesystem::path& folder, const ModelConfig& config,
                const TransformerWeights& weights, const SaveOptions& options) {
  const std::string json = config_text(config, options);
  TransformerWeights views =
      weights;  // shares the tensors; `visit_parameters` wants to be able to change them
  std::vector<StoredTensor> layout;
  visit_parameters(config, views, [&](const ParameterSpec& spec, Tensor&, Tensor* scale) {
    layout.push_back({spec.name, spec.shape, stored_type(spec, scale != nullptr, options.dtype)});
  });
  CheckpointOptions checkpoint;
  checkpoint.max_shard_bytes = options.max_shard_bytes;
  checkpoint.fp8_scales = options.fp8_scales;
  CheckpointWriter writer(folder, layout, checkpoint);
  const bool keep_fp8 = config.fp8 && config.fp8->power_of_two_scales == wants_power_of_two_scales(options);
  auto target = layout.begin();
  visit_parameters(config, views, [&](const ParameterSpec&, Tensor& value, Tensor* scale) {
    write_parameter(writer, *target++, value, scale, keep_fp8);
  });

  const std::filesystem::path config_file = folder / kConfigFileName;
  if (holds(config_file, json)) {
    writer.commit();
    return;
  }
  AtomicFile new_config(config_file);
  new_config.write(json);
  new_config.seal();
  std::error_code error;
  std::filesystem::remove(config_file, error);
  require(!error, "{}: cannot replace: {}", config_file.string(), error.message());
  sync_folder(folder);
  writer.commit();
  new_config.commit();
}

}  // namespace fathom
