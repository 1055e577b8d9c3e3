#include "plan/checkpoint_report.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "base/error.h"
#include "io/checkpoint_folder.h"
#include "io/gguf.h"
#include "io/record_pack.h"
#include "model/gguf_config.h"
#include "model/gguf_load.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

constexpr std::string_view kConfigName = "config.json";

void add_tensor(CheckpointReport& report, const TensorEntry& entry, const std::string& file) {
  report.tensors.push_back({entry, file});
  const auto elements = static_cast<std::uint64_t>(element_count(entry.shape));
  for (CheckpointReport::Totals* totals : {&report.by_dtype[entry.dtype], &report.totals}) {
    ++totals->tensors;
    totals->elements += elements;
    totals->bytes += entry.bytes;
  }
}

void add_file(CheckpointReport& report, const SafetensorsFile& file) {
  const std::string name = file.path().filename().string();
  report.files.push_back({name, std::filesystem::file_size(file.path()), file.entries().size()});
  report.metadata.insert(file.metadata().begin(), file.metadata().end());
  for (const TensorEntry& entry : file.entries()) add_tensor(report, entry, name);
}

void set_config(CheckpointReport& report, ModelConfig config) {
  report.config = std::move(config);
  report.parameters = count_parameters(*report.config);
}

/// The matrices of routed experts, those of all experts of a layer as one tensor.
void add_expert_pack(CheckpointReport& report, const RecordPack& pack) {
  const std::string name = pack.path().filename().string();
  std::size_t tensors = 0;
  for (const RecordGroup& group : pack.groups()) {
    for (std::size_t p = 0; p < group.parts.size(); ++p) {
      const StoredTensor& part = group.parts[p];
      Shape shape = {group.records};
      shape.insert(shape.end(), part.shape.begin(), part.shape.end());
      const std::uint64_t bytes = stored_bytes(part.dtype, element_count(shape));
      add_tensor(report,
                 {fmt::format("blk.{}.experts.{}", group.key, part.name), std::string(dtype_name(part.dtype)),
                  shape, group.first + group.part_offsets[p], bytes},
                 name);
      ++tensors;
    }
  }
  report.files.push_back({name, std::filesystem::file_size(pack.path()), tensors});
}

/// A model whose weights stay as they are stored, and whose metadata say what they are.
void inspect_gguf(CheckpointReport& report, const std::filesystem::path& path) {
  const GgufFile file(path);
  for (const GgufFile::Part& part : file.parts()) {
    const std::string name = part.path.filename().string();
    report.files.push_back({name, part.bytes, part.tensors.size()});
    for (const GgufTensor& tensor : part.tensors)
      add_tensor(report,
                 {tensor.name, std::string(tensor.type->name), tensor.shape, tensor.offset, tensor.bytes},
                 name);
  }
  for (const auto& [key, value] : file.metadata().entries()) report.metadata[key] = gguf_value_text(value);
  try {
    set_config(report, gguf_model_config(file));
    const LoadedModel model = load_gguf_model(file);  // names, shapes and types; weights are not read
    if (model.expert_pack != nullptr) add_expert_pack(report, *model.expert_pack);
  } catch (const Error& error) {
    report.config_problem = error.what();
  }
}

void inspect_folder(CheckpointReport& report, const std::filesystem::path& folder) {
  const bool has_config = std::filesystem::exists(folder / kConfigName);
  const bool has_weights =
      std::filesystem::exists(folder / kSingleFileName) || std::filesystem::exists(folder / kIndexFileName);
  require(has_config || has_weights, "{}: holds no {}, {} or {}", folder.string(), kConfigName,
          kSingleFileName, kIndexFileName);
  if (!has_weights) {
    set_config(report, load_model_config(folder / kConfigName));
    return;
  }
  const CheckpointFolder checkpoint(folder);
  for (const auto& file : checkpoint.files()) add_file(report, *file);
  if (!has_config) return;
  try {
    set_config(report, load_model_config(folder / kConfigName));
    report.match = match_checkpoint(*report.config, checkpoint);
  } catch (const Error& error) {
    report.config_problem = error.what();
  }
}

/// Bytes of the main model's weights as `SaveOptions::dtype` F8_E4M3 stores them: matrices of attention, MLPs
/// and experts in FP8 with block scales, the rest in BF16.
std::uint64_t fp8_bytes(const ModelConfig& config) {
  std::uint64_t bytes = 0;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    if (spec.layer >= config.num_hidden_layers) continue;
    const auto elements = static_cast<std::uint64_t>(element_count(spec.shape));
    if (spec.kind == ParameterKind::linear || spec.kind == ParameterKind::expert) {
      bytes +=
          elements + sizeof(float) * static_cast<std::uint64_t>(element_count(block_scale_shape(spec.shape)));
    } else {
      bytes += elements * dtype_size(DType::bf16);
    }
  }
  return bytes;
}

}  // namespace

CheckpointReport inspect_checkpoint(const std::filesystem::path& path) {
  CheckpointReport report;
  report.path = path.string();
  require(std::filesystem::exists(path), "{}: no such file or folder", path.string());
  const std::string name = path.filename().string();
  if (std::filesystem::is_directory(path)) {
    inspect_folder(report, path);
  } else if (name == kIndexFileName) {
    inspect_folder(report, path.has_parent_path() ? path.parent_path() : std::filesystem::path("."));
  } else if (is_gguf_path(path)) {
    inspect_gguf(report, path);
  } else if (path.extension() == ".json") {
    set_config(report, load_model_config(path));
  } else {
    add_file(report, SafetensorsFile(path));
  }
  std::ranges::sort(report.tensors, {},
                    [](const CheckpointReport::Stored& stored) { return stored.entry.name; });
  std::ranges::sort(report.files, {}, &CheckpointReport::File::name);
  return report;
}

MemoryEstimate estimate_memory(const CheckpointReport& report) {
  MemoryEstimate estimate;
  estimate.weights = report.totals.bytes;
  if (!report.config) return estimate;
  const ModelConfig& config = *report.config;
  if (report.files.empty()) {
    estimate.weights = static_cast<std::uint64_t>(report.parameters->total) * dtype_size(DType::bf16);
    estimate.weights_fp8 = fp8_bytes(config);
  }
  for (const LatentType type : kernels::kLatentTypes)
    estimate.latent_cache.emplace_back(
        type, static_cast<std::uint64_t>(LatentPageLayout(config, type, kPagePositions).position_bytes()));
  return estimate;
}

}  // namespace fathom
