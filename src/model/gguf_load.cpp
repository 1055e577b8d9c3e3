#include "model/gguf_load.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "io/gguf.h"
#include "model/expert_pack.h"
#include "model/gguf_config.h"
#include "model/gguf_halves.h"
#include "model/gguf_names.h"
#include "model/read_as_stored.h"
#include "numerics/convert.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

class GgufLoader {
 public:
  explicit GgufLoader(const GgufFile& file) : file_(file), config_(gguf_model_config(file)) {
    const std::string prefix = gguf_layer_name(config_.num_hidden_layers, "nextn.");
    const bool has_mtp =
        std::ranges::any_of(file_.names(), [&](const std::string& name) { return name.starts_with(prefix); });
    if (config_.num_nextn_predict_layers > 0 && !has_mtp) {
      log_info("{}: no weights of the {} MTP module(s) that it announces; going on without",
               file.path().string(), config_.num_nextn_predict_layers);
      config_.num_nextn_predict_layers = 0;
    }
  }

  LoadedModel load() {
    LoadedModel model{config_, {}, open_pack()};
    visit_parameters(model.config, model.weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
      if (spec.expert < 0 || model.expert_pack == nullptr) value = parameter(spec, model.weights);
    });
    if (model.expert_pack != nullptr) map_expert_pack(model.expert_pack, model.config, model.weights);
    join_all_halves(model.weights);
    tie_head(model.config, model.weights);
    require_all_used();
    return model;
  }

 private:
  /// Null where the experts are in the file itself.
  [[nodiscard]] std::shared_ptr<const RecordPack> open_pack() const {
    const GgufValue* value = file_.metadata().find(kGgufPackKey);
    if (value == nullptr) return nullptr;
    const auto* name = std::get_if<std::string>(value);
    const std::string where = file_.path().string();
    require(name != nullptr && !name->empty() && std::filesystem::path(*name).filename() == *name &&
                *name != "..",
            "{}: {} is {}, expected the name of a file in the same folder", where, kGgufPackKey,
            gguf_value_text(*value));
    const std::filesystem::path path = file_.path().parent_path() / *name;
    std::error_code ignored;
    require(std::filesystem::exists(path, ignored),
            "{}: its experts are in {}, which is not there: put both into one folder", where, path.string());
    auto pack = std::make_shared<const RecordPack>(path);
    const GgufValue* id = file_.metadata().find(kGgufPackIdKey);
    const auto* number = id != nullptr ? std::get_if<std::uint64_t>(id) : nullptr;
    require(number != nullptr && *number == pack->id(),
            "{}: holds the experts of another model than {}: convert the model again", path.string(), where);
    return pack;
  }

  Tensor parameter(const ParameterSpec& spec, const TransformerWeights& weights) {
    const GgufPlace place = gguf_place(spec);
    if (place.expert >= 0) return expert(spec, place);
    if (place.tensor.ends_with(kGgufBothHalves) && !file_.contains(place.tensor)) {
      halves_.emplace_back(spec.layer, stored_halves(spec.layer));
      return {};  // see join_all_halves
    }
    if (spec.kind == ParameterKind::router_bias && !file_.contains(place.tensor))
      return Tensor::zeros(spec.shape);
    if (place.tensor.ends_with("nextn.shared_head_norm.weight") && !file_.contains(place.tensor))
      return weights.norm;
    Tensor tensor = stored(place.tensor, spec.shape, spec.sizes);
    return is_read_as_stored(spec.kind) ? tensor : to_f32(tensor);
  }

  [[nodiscard]] BlockWeights& block_of(TransformerWeights& weights, std::int64_t layer) const {
    const std::int64_t module = layer - config_.num_hidden_layers;
    return module < 0 ? weights.layers[static_cast<std::size_t>(layer)]
                      : weights.mtp[static_cast<std::size_t>(module)].block;
  }

  /// A matrix of the merged tensor of all experts.
  Tensor expert(const ParameterSpec& spec, const GgufPlace& place) {
    const std::string sizes = "n_routed_experts × " + spec.sizes;
    const Tensor merged =
        stored(place.tensor, {config_.n_routed_experts, spec.shape[0], spec.shape[1]}, sizes);
    return merged.rows(place.expert, place.expert + 1).reshape(spec.shape);
  }

  /// Whole matrices for the layers that are stored in halves, by all threads: of a model of 16 billion
  /// parameters that takes one of them half a second.
  void join_all_halves(TransformerWeights& weights) const {
    ThreadPool pool;
    pool.parallel_for(halves_.size(), [&](std::size_t index) {
      const auto& [layer, halves] = halves_[index];
      LinearWeight& kv_b = block_of(weights, layer).self_attn.kv_b_proj;
      kv_b.weight = join_halves(config_, halves);
      kv_b.halves = std::make_shared<const KvHalves>(halves);
    });
  }

  KvHalves stored_halves(std::int64_t layer) {
    KvHalves halves;
    halves.k_b = half(gguf_layer_name(layer, kGgufKeyHalf), config_.kv_lora_rank, config_.qk_nope_head_dim,
                      "num_attention_heads × kv_lora_rank × qk_nope_head_dim");
    halves.v_b = half(gguf_layer_name(layer, kGgufValueHalf), config_.v_head_dim, config_.kv_lora_rank,
                      "num_attention_heads × v_head_dim × kv_lora_rank");
    return halves;
  }

  /// [heads, out, in]; ik_llama.cpp writes the same as a matrix [heads · out, in].
  Tensor half(const std::string& name, std::int64_t out, std::int64_t in, std::string_view sizes) {
    const std::int64_t heads = config_.num_attention_heads;
    const GgufTensor* entry = file_.find(name);
    const bool flat = entry != nullptr && entry->shape == Shape{heads * out, in};
    return stored(name, flat ? Shape{heads * out, in} : Shape{heads, out, in}, sizes)
        .reshape({heads, out, in});
  }

  Tensor stored(const std::string& name, const Shape& shape, std::string_view sizes) {
    used_.insert(name);
    Tensor tensor = file_.get(name, shape, sizes);
    require(is_plain_float(tensor.dtype()) || is_block_quantized(tensor.dtype()),
            "{}: tensor {} is of type {}, expected floats", file_.path().string(), name,
            dtype_name(tensor.dtype()));
    return tensor;
  }

  /// A file with tensors that the config has no place for is of another model than it says.
  void require_all_used() const {
    for (const std::string& name : file_.names())
      require(used_.contains(name) || is_passed_over(name),
              "{}: tensor {} has no place in the model that it describes", file_.path().string(),
              printable(name));
  }

  [[nodiscard]] static bool is_passed_over(std::string_view name) {
    for (const std::string_view end :
         {kGgufKeyHalf, kGgufValueHalf, std::string_view("rope_freqs.weight"),
          std::string_view(".nextn.embed_tokens.weight"), std::string_view(".nextn.shared_head_head.weight")})
      if (name.ends_with(end)) return true;
    return false;
  }

  const GgufFile& file_;
  ModelConfig config_;
  std::set<std::string, std::less<>> used_;
  std::vector<std::pair<std::int64_t, KvHalves>> halves_;  // of layers whose kv_b_proj was joined from them
};

}  // namespace

LoadedModel load_gguf_model(const GgufFile& file) {
  return GgufLoader(file).load();
}

}  // namespace fathom
