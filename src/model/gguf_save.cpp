#include "model/gguf_save.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "base/error.h"
#include "io/gguf_writer.h"
#include "model/converted_rows.h"
#include "model/gguf_config.h"
#include "model/gguf_halves.h"
#include "model/gguf_names.h"
#include "model/gguf_tokenizer.h"
#include "numerics/block_scale.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

constexpr std::int64_t kBandValues = std::int64_t{1} << 24;  // converted before they are written

/// `general.file_type` of files whose matrices are all of one type; for people alone.
std::uint32_t file_type(DType dtype) {
  constexpr std::array<std::pair<DType, std::uint32_t>, 15> kFileTypes = {{{DType::f32, 0},
                                                                           {DType::f16, 1},
                                                                           {DType::q4_0, 2},
                                                                           {DType::q4_1, 3},
                                                                           {DType::q8_0, 7},
                                                                           {DType::q5_0, 8},
                                                                           {DType::q5_1, 9},
                                                                           {DType::q2_k, 10},
                                                                           {DType::q3_k, 11},
                                                                           {DType::q4_k, 14},
                                                                           {DType::q5_k, 16},
                                                                           {DType::q6_k, 18},
                                                                           {DType::iq4_nl, 25},
                                                                           {DType::iq4_xs, 30},
                                                                           {DType::bf16, 32}}};
  for (const auto& [type, number] : kFileTypes)
    if (type == dtype) return number;
  fail("GGUF files are written with F32, F16, BF16 or quantised matrices, not with {}", dtype_name(dtype));
}

/// Lays a model's tensors out, and then writes them in the same order.
class GgufSaver {
 public:
  GgufSaver(ThreadPool& pool, const ModelConfig& config, const TransformerWeights& weights,
            const GgufSaveOptions& options)
      : pool_(pool), config_(config), weights_(weights), options_(options) {
    visit_parameters(config_, weights_, [&](const ParameterSpec& spec, Tensor& value, Tensor* scale) {
      lay_out(spec, value, scale);
    });
  }

  std::vector<std::filesystem::path> write(const std::filesystem::path& path, const GgufMetadata& metadata) {
    GgufWriter writer(path, metadata, layout_, options_.max_part_bytes);
    for (const StoredTensor& tensor : layout_)
      total_ += gguf_tensor_bytes(tensor.shape, gguf_type_of(tensor.dtype));
    visit_parameters(config_, weights_, [&](const ParameterSpec& spec, Tensor& value, Tensor* scale) {
      write_parameter(writer, spec, value, scale == nullptr ? Tensor() : *scale);
    });
    writer.commit();
    return writer.paths();
  }

 private:
  [[nodiscard]] bool is_halved_here(const GgufPlace& place) const {
    return options_.split_kv_b && place.tensor.ends_with(kGgufBothHalves);
  }

  [[nodiscard]] DType stored_type(const ParameterSpec& spec, std::int64_t columns) const {
    const bool is_matrix = spec.kind == ParameterKind::embedding || spec.kind == ParameterKind::head ||
                           spec.kind == ParameterKind::linear || spec.kind == ParameterKind::expert;
    if (!is_matrix) return DType::f32;
    if (columns % block_values(options_.dtype) == 0) return options_.dtype;
    return columns % block_values(DType::q8_0) == 0 ? DType::q8_0 : DType::f16;
  }

  void lay_out(const ParameterSpec& spec, const Tensor&, const Tensor*) {
    const GgufPlace place = gguf_place(spec);
    if (is_halved_here(place)) {
      const Shape keys = {config_.num_attention_heads, config_.kv_lora_rank, config_.qk_nope_head_dim};
      const Shape values = {config_.num_attention_heads, config_.v_head_dim, config_.kv_lora_rank};
      layout_.push_back({gguf_layer_name(spec.layer, kGgufKeyHalf), keys, stored_type(spec, keys.back())});
      layout_.push_back(
          {gguf_layer_name(spec.layer, kGgufValueHalf), values, stored_type(spec, values.back())});
    } else if (place.expert < 0) {
      layout_.push_back({place.tensor, spec.shape, stored_type(spec, spec.shape.back())});
    } else if (place.expert == 0 && !options_.without_experts) {
      layout_.push_back({place.tensor,
                         {config_.n_routed_experts, spec.shape[0], spec.shape[1]},
                         stored_type(spec, spec.shape.back())});
    }
  }

  void write_parameter(GgufWriter& writer, const ParameterSpec& spec, const Tensor& value,
                       const Tensor& scale) {
    const GgufPlace place = gguf_place(spec);
    if (is_halved_here(place)) {
      write_halves(writer, spec, value, scale);
    } else if (place.expert < 0) {
      write_matrix(writer, place.tensor, value, scale, stored_type(spec, spec.shape.back()));
    } else if (!options_.without_experts) {
      const DType dtype = stored_type(spec, spec.shape.back());
      const Tensor matrix = value.dtype() == dtype
                                ? value
                                : converted_rows(pool_, spec.name, value, scale, 0, value.dim(0), dtype);
      put(writer, place.tensor, matrix.reshape({1, value.dim(0), value.dim(1)}));
    }
  }

  /// @param value  a matrix or vector
  void write_matrix(GgufWriter& writer, const std::string& name, const Tensor& value, const Tensor& scale,
                    DType dtype) {
    const std::int64_t rows = value.dim(0);
    const std::int64_t columns = value.size() / std::max<std::int64_t>(1, rows);
    const std::int64_t band =
        std::max(kScaleBlock, kBandValues / std::max<std::int64_t>(1, columns) / kScaleBlock * kScaleBlock);
    for (std::int64_t begin = 0; begin < rows; begin += band) {
      const std::int64_t end = std::min(rows, begin + band);
      Tensor part = value.dtype() == dtype ? value.rows(begin, end)
                                           : converted_rows(pool_, name, value, scale, begin, end, dtype);
      if (value.shape().size() == 1) part = part.reshape({end - begin});
      put(writer, name, part);
    }
  }

  void write_halves(GgufWriter& writer, const ParameterSpec& spec, const Tensor& value, const Tensor& scale) {
    const KvHalves halves = split_into_halves(config_, to_f32(value, scale));
    for (const auto& [half, place] : {std::pair{halves.k_b, kGgufKeyHalf}, {halves.v_b, kGgufValueHalf}}) {
      const std::string name = gguf_layer_name(spec.layer, place);
      const Tensor matrix = half.reshape({half.dim(0) * half.dim(1), half.dim(2)});
      const DType dtype = stored_type(spec, half.dim(2));
      put(writer, name,
          converted_rows(pool_, name, matrix, {}, 0, matrix.dim(0), dtype).reshape(half.shape()));
    }
  }

  void put(GgufWriter& writer, const std::string& name, const Tensor& rows) {
    writer.write(name, rows);
    written_ += rows.byte_size();
    if (options_.progress) options_.progress(written_, total_);
  }

  ThreadPool& pool_;
  const ModelConfig& config_;
  TransformerWeights weights_;  // shares the tensors; `visit_parameters` wants to be able to change them
  const GgufSaveOptions& options_;
  std::vector<StoredTensor> layout_;
  std::uint64_t written_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace

std::vector<std::filesystem::path> save_gguf(ThreadPool& pool, const std::filesystem::path& path,
                                             const ModelConfig& config, const TransformerWeights& weights,
                                             const TokenizerSpec* tokenizer, const GgufSaveOptions& options) {
  const GgufMetadata of_config = gguf_config_metadata(config, options.split_kv_b);
  GgufMetadata metadata;
  for (const auto& [key, value] : of_config.entries()) {
    metadata.set(key, value);
    if (key != "general.architecture") continue;
    metadata.set("general.type", std::string("model"));
    if (!options.name.empty()) metadata.set("general.name", options.name);
  }
  metadata.set("general.file_type", file_type(options.dtype));
  metadata.set("general.quantization_version", std::uint32_t{2});
  for (const auto& [key, value] : options.further_metadata) metadata.set(key, value);
  if (tokenizer != nullptr) add_gguf_tokenizer(*tokenizer, config.vocab_size, metadata);
  return GgufSaver(pool, config, weights, options).write(path, metadata);
}

}  // namespace fathom
