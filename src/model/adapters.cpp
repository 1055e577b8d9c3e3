#include "model/adapters.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/gemm.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

constexpr std::string_view kWeight = ".weight";

struct Map {
  LinearWeight* weight;
  Shape shape;
  bool is_streamed;  // read from disk for each use: what is here is not what is multiplied
};
using Maps = std::map<std::string, Map, std::less<>>;

/// The model's linear maps, by their names.
Maps maps_of(const ModelConfig& config, TransformerWeights& weights) {
  Maps maps;
  visit_linear_maps(config, weights, [&](const ParameterSpec& spec, LinearWeight& weight) {
    const bool is_streamed = spec.expert >= 0 && spec.layer < config.num_hidden_layers &&
                             weights.layers[static_cast<std::size_t>(spec.layer)].moe.streamed != nullptr;
    maps.emplace(spec.name.substr(0, spec.name.size() - kWeight.size()),
                 Map{&weight, spec.shape, is_streamed});
  });
  return maps;
}

/// What is to be added to one map.
struct Addition {
  LinearWeight* weight;
  LowRank low_rank;
};

class Additions {
 public:
  Additions(const ModelConfig& config, TransformerWeights& weights, std::string file)
      : maps_(maps_of(config, weights)), file_(std::move(file)) {}

  void take(const AdapterFile::Part& part, double scale) {
    const Tensor a = to_f32(part.a);
    Tensor b = to_f32(part.b).clone();
    for (float& value : b.values()) value = static_cast<float>(value * part.factor * scale);
    add(part.module, {a, b});
  }
  std::vector<Addition>& all() { return all_; }

 private:
  void add(const std::string& module, const LowRank& low_rank) {
    const auto found = maps_.find(module);
    require(found != maps_.end(),
            "{}: adapts {}, which is no linear map of this model: is it an adapter of another?", file_,
            printable(module));
    require(!found->second.is_streamed,
            "{}: adapts {}, an expert that is read from disk when it is used; add the adapter to the model "
            "before "
            "packing it: fathom convert MODEL OUT --lora {}",
            file_, printable(module), file_);
    const Shape& shape = found->second.shape;
    const Shape own = {low_rank.up.dim(0), low_rank.down.dim(1)};
    require(own == shape,
            "{}: adapts {} as a map of shape {}, which is {} in this model: is it an adapter of another?",
            file_, printable(module), shape_text(own), shape_text(shape));
    all_.push_back({found->second.weight, low_rank});
  }

  Maps maps_;
  std::string file_;
  std::vector<Addition> all_;
};

/// Both at once: (x · down1ᵀ) · up1ᵀ + (x · down2ᵀ) · up2ᵀ.
LowRank joined(const LowRank& first, const LowRank& second) {
  const std::int64_t out = first.up.dim(0);
  const std::int64_t ranks[] = {first.up.dim(1), second.up.dim(1)};
  LowRank both{Tensor::empty({ranks[0] + ranks[1], first.down.dim(1)}),
               Tensor::empty({out, ranks[0] + ranks[1]})};
  std::ranges::copy(second.down.values(), std::ranges::copy(first.down.values(), both.down.f32()).out);
  float* to = both.up.f32();
  for (std::int64_t row = 0; row < out; ++row) {
    to = std::copy_n(first.up.f32() + row * ranks[0], ranks[0], to);
    to = std::copy_n(second.up.f32() + row * ranks[1], ranks[1], to);
  }
  return both;
}

}  // namespace

void add_adapter(const ModelConfig& config, TransformerWeights& weights, const AdapterFile& adapter,
                 double scale) {
  Additions additions(config, weights, adapter.path.string());
  for (const AdapterFile::Part& part : adapter.parts) additions.take(part, scale);
  for (Addition& addition : additions.all()) {
    LowRank& place = addition.weight->adapter;
    place = place.defined() ? joined(place, addition.low_rank) : std::move(addition.low_rank);
  }
}

void merge_adapters(ThreadPool& pool, const ModelConfig& config, TransformerWeights& weights) {
  visit_linear_maps(config, weights, [&](const ParameterSpec&, LinearWeight& w) {
    if (!w.adapter.defined()) return;
    Tensor merged = to_f32(w.weight, w.weight_scale_inv).clone();
    const LowRank adapter = std::exchange(w.adapter, {});
    const std::int64_t rank = adapter.rank();
    kernels::gemm(pool, merged.dim(0), merged.dim(1), rank, 1.0F, {adapter.up.f32(), rank},
                  {adapter.down.f32(), merged.dim(1)}, 1.0F, merged.f32(), merged.dim(1));
    w.weight = merged;
    w.halves = nullptr;
    w.weight_scale_inv = {};
  });
}

}  // namespace fathom
