#include "model/expert_pack.h"

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/converted_rows.h"
#include "numerics/convert.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

struct PackedMap {
  std::string_view name;   // of its part
  std::string_view scale;  // of its block scales' part
  LinearWeight MlpWeights::*map;
};
constexpr std::array<PackedMap, 3> kPackedMaps = {{
    {"gate_proj.weight", "gate_proj.weight_scale_inv", &MlpWeights::gate_proj},
    {"up_proj.weight", "up_proj.weight_scale_inv", &MlpWeights::up_proj},
    {"down_proj.weight", "down_proj.weight_scale_inv", &MlpWeights::down_proj},
}};

struct PackedLayer {
  std::int64_t layer;
  MoeWeights* moe;
};

/// MoE layers, those of MTP modules last.
std::vector<PackedLayer> moe_layers_of(const ModelConfig& config, TransformerWeights& weights) {
  std::vector<PackedLayer> layers;
  for (std::size_t i = 0; i < weights.layers.size(); ++i)
    if (config.is_moe_layer(static_cast<std::int64_t>(i)))
      layers.push_back({static_cast<std::int64_t>(i), &weights.layers[i].moe});
  for (std::size_t k = 0; k < weights.mtp.size(); ++k) {
    const std::int64_t layer = config.num_hidden_layers + static_cast<std::int64_t>(k);
    if (config.is_moe_layer(layer)) layers.push_back({layer, &weights.mtp[k].block.moe});
  }
  return layers;
}

/// The type that a matrix is stored in: where its rows are no whole blocks, Q8_0 or F16, as GGUF files have
/// it.
DType packed_type(const Tensor& matrix, std::optional<DType> dtype) {
  if (!dtype) return matrix.dtype();
  const std::int64_t columns = matrix.dim(1);
  if (columns % block_values(*dtype) == 0) return *dtype;
  return columns % block_values(DType::q8_0) == 0 ? DType::q8_0 : DType::f16;
}

/// The parts of experts like this one.
std::vector<StoredTensor> parts_of(const MlpWeights& expert, std::optional<DType> dtype) {
  std::vector<StoredTensor> parts;
  for (const PackedMap& packed : kPackedMaps) {
    const Tensor& matrix = (expert.*packed.map).weight;
    const DType stored = packed_type(matrix, dtype);
    parts.push_back({std::string(packed.name), matrix.shape(), stored});
    if (stored == DType::f8_e4m3)
      parts.push_back({std::string(packed.scale), block_scale_shape(matrix.shape()), DType::f32});
  }
  return parts;
}

std::vector<Tensor> tensors_of(ThreadPool& pool, const MlpWeights& expert,
                               const std::vector<StoredTensor>& parts, const std::string& name) {
  std::vector<Tensor> tensors;
  for (const PackedMap& packed : kPackedMaps) {
    const LinearWeight& weight = expert.*packed.map;
    const DType stored = parts.at(tensors.size()).dtype;
    const bool is_as_stored = weight.weight.dtype() == stored;
    tensors.push_back(is_as_stored ? weight.weight
                                   : converted_rows(pool, name, weight.weight, weight.weight_scale_inv, 0,
                                                    weight.weight.dim(0), stored));
    if (stored == DType::f8_e4m3) tensors.push_back(weight.weight_scale_inv);
  }
  return tensors;
}

/// The number of a part; nothing where the group has none of the name.
std::optional<std::size_t> part_named(const RecordGroup& group, std::string_view name) {
  for (std::size_t i = 0; i < group.parts.size(); ++i)
    if (group.parts[i].name == name) return i;
  return std::nullopt;
}

std::size_t checked_part(const RecordPack& pack, const RecordGroup& group, std::string_view name,
                         const Shape& shape) {
  const std::optional<std::size_t> part = part_named(group, name);
  require(part.has_value(), "{}: the experts of layer {} have no {}", pack.path().string(), group.key, name);
  require(group.parts[*part].shape == shape, "{}: {} of the experts of layer {} is {}, the model needs {}",
          pack.path().string(), name, group.key, shape_text(group.parts[*part].shape), shape_text(shape));
  return *part;
}

/// Checks that records are experts of the model.
void check_group(const RecordPack& pack, const RecordGroup& group, const ModelConfig& config) {
  require(group.records == config.n_routed_experts,
          "{}: layer {} has {} experts, the model needs {} (n_routed_experts)", pack.path().string(),
          group.key, group.records, config.n_routed_experts);
  std::size_t used = 0;
  for (const PackedMap& packed : kPackedMaps) {
    const bool is_down = packed.map == &MlpWeights::down_proj;
    const Shape shape = is_down ? Shape{config.hidden_size, config.moe_intermediate_size}
                                : Shape{config.moe_intermediate_size, config.hidden_size};
    const DType dtype = group.parts[checked_part(pack, group, packed.name, shape)].dtype;
    ++used;
    require(is_plain_float(dtype) || is_block_quantized(dtype) || dtype == DType::f8_e4m3,
            "{}: {} of the experts of layer {} is {}, expected floats", pack.path().string(), packed.name,
            group.key, dtype_name(dtype));
    if (dtype != DType::f8_e4m3) continue;
    const DType scales = group.parts[checked_part(pack, group, packed.scale, block_scale_shape(shape))].dtype;
    ++used;
    require(scales == DType::f32, "{}: {} of the experts of layer {} is {}, expected F32",
            pack.path().string(), packed.scale, group.key, dtype_name(scales));
  }
  require(used == group.parts.size(), "{}: the experts of layer {} have {} parts, expected {}",
          pack.path().string(), group.key, group.parts.size(), used);
}

/// @param tensor  what a part's number stands for
template <typename TensorOf>
MlpWeights expert_of_parts(const RecordGroup& group, const TensorOf& tensor) {
  MlpWeights expert;
  for (const PackedMap& packed : kPackedMaps) {
    LinearWeight& weight = expert.*packed.map;
    weight.weight = tensor(*part_named(group, packed.name));
    if (const auto scale = part_named(group, packed.scale)) weight.weight_scale_inv = tensor(*scale);
  }
  return expert;
}

}  // namespace

std::uint64_t write_expert_pack(ThreadPool& pool, const std::filesystem::path& path,
                                const ModelConfig& config, const TransformerWeights& weights,
                                const ExpertPackOptions& options) {
  TransformerWeights views = weights;
  const std::vector<PackedLayer> layers = moe_layers_of(config, views);
  require(!layers.empty(), "{}: the model has no routed experts to pack: convert it without", path.string());
  std::vector<RecordGroup> groups;
  groups.reserve(layers.size());
  for (const PackedLayer& layer : layers)
    groups.push_back({.key = layer.layer,
                      .records = config.n_routed_experts,
                      .parts = parts_of(layer.moe->experts.at(0), options.dtype)});
  RecordPackWriter writer(path, std::move(groups));
  std::uint64_t written = 0;
  for (std::size_t g = 0; g < layers.size(); ++g) {
    const std::vector<MlpWeights>& experts = layers[g].moe->experts;
    for (std::size_t e = 0; e < experts.size(); ++e) {
      const std::string name = fmt::format("of expert {} of layer {}", e, layers[g].layer);
      writer.write(g, static_cast<std::int64_t>(e),
                   tensors_of(pool, experts[e], writer.groups()[g].parts, name));
      written += writer.groups()[g].stride;
      if (options.progress) options.progress(written, writer.bytes());
    }
  }
  return writer.commit();
}

void map_expert_pack(const std::shared_ptr<const RecordPack>& pack, const ModelConfig& config,
                     TransformerWeights& weights) {
  for (const PackedLayer& layer : moe_layers_of(config, weights)) {
    const RecordGroup* group = pack->find(layer.layer);
    require(group != nullptr, "{}: has no experts of layer {}", pack->path().string(), layer.layer);
    check_group(*pack, *group, config);
    layer.moe->experts.resize(static_cast<std::size_t>(group->records));
    for (std::int64_t e = 0; e < group->records; ++e)
      layer.moe->experts[static_cast<std::size_t>(e)] =
          expert_of_parts(*group, [&](std::size_t part) { return pack->part(*group, e, part); });
  }
  for (const RecordGroup& group : pack->groups()) {
    const bool is_left_out = group.key >= config.num_hidden_layers;  // an MTP module that the config has not
    require(is_left_out || (group.key >= 0 && config.is_moe_layer(group.key)),
            "{}: layer {} has no routed experts", pack->path().string(), group.key);
  }
}

MlpWeights expert_in_memory(const RecordGroup& group, const std::byte* record) {
  return expert_of_parts(group, [&](std::size_t part) {
    return Tensor::view(const_cast<std::byte*>(record + group.part_offsets[part]), group.parts[part].shape,
                        group.parts[part].dtype, nullptr);
  });
}

}  // namespace fathom
