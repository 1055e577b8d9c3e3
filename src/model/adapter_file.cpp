#include "model/adapter_file.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "io/safetensors.h"
#include "model/adapter_config.h"
#include "model/stacked_experts.h"
#include "numerics/convert.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigName = "adapter_config.json";
constexpr const char* kTensorsName = "adapter_model.safetensors";

/// A tensor's name taken apart.
struct TensorName {
  std::string module;
  bool is_a = false;
  /// How many adapters of parameters of the same module are around this one's, as PEFT nests them.
  std::int64_t depth = 0;
};

/// "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight"; in older files the adapter has a name,
/// "....lora_A.default.weight".
std::optional<TensorName> parse_name(std::string_view name) {
  constexpr std::string_view kPrefix = "base_model.model.";
  constexpr std::string_view kNested = ".base_layer";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  for (const auto& [mark, is_a] : {std::pair{std::string_view(".lora_A."), true}, {".lora_B.", false}}) {
    const std::size_t at = name.find(mark);
    if (at == std::string_view::npos) continue;
    const std::string_view rest = name.substr(at + mark.size());
    if (rest != "weight" && rest != "default.weight") return std::nullopt;
    std::string_view module = name.substr(0, at);
    std::int64_t depth = 0;
    for (; module.ends_with(kNested); ++depth) module.remove_suffix(kNested.size());
    return TensorName{std::string(module), is_a, depth};
  }
  return std::nullopt;
}

/// The two matrices of a map, or of a parameter of stacked experts.
struct Pair {
  std::string module;
  bool is_nested = false;
  Tensor a;
  Tensor b;
};

/// Throws `Error` for a tensor that is not one of a pair.
std::vector<Pair> read_pairs(const SafetensorsFile& file) {
  const std::string where = file.path().string();
  std::map<std::pair<std::string, std::int64_t>, Pair> pairs;
  for (const TensorEntry& entry : file.entries()) {
    const std::string shown = printable(entry.name);
    const std::optional<TensorName> name = parse_name(entry.name);
    require(name.has_value(), "{}: tensor {} is no lora_A or lora_B of a linear map", where, shown);
    const Tensor tensor = file.get(entry.name);
    require(tensor.shape().size() == 2 && tensor.size() > 0, "{}: tensor {} is {}, expected a matrix", where,
            shown, shape_text(tensor.shape()));
    require(is_plain_float(tensor.dtype()), "{}: tensor {} is {}, expected F32, BF16 or F16", where, shown,
            dtype_name(tensor.dtype()));
    Pair& pair = pairs[{name->module, name->depth}];
    pair.module = name->module;
    pair.is_nested = name->depth > 0;
    Tensor& half = name->is_a ? pair.a : pair.b;
    require(!half.defined(), "{}: has two matrices like {}", where, shown);
    half = tensor;
  }
  require(!pairs.empty(), "{}: holds no matrices", where);
  std::vector<Pair> all;
  for (auto& [key, pair] : pairs) {
    require(pair.a.defined() && pair.b.defined(), "{}: {} has {} and no {} to go with it", where,
            printable(pair.module), pair.a.defined() ? "lora_A" : "lora_B",
            pair.a.defined() ? "lora_B" : "lora_A");
    require(pair.b.dim(1) == pair.a.dim(0), "{}: {} has lora_A {} and lora_B {}: their ranks differ", where,
            printable(pair.module), shape_text(pair.a.shape()), shape_text(pair.b.shape()));
    all.push_back(std::move(pair));
  }
  return all;
}

}  // namespace

AdapterFile read_adapter(const fs::path& folder, const ModelConfig& config) {
  std::error_code ignored;
  require(fs::exists(folder / kConfigName, ignored),
          "{}: holds no {}: give the folder that PEFT saved an adapter to", folder.string(), kConfigName);
  require(fs::exists(folder / kTensorsName, ignored), "{}: holds no {}: save the adapter as safetensors",
          folder.string(), kTensorsName);
  const AdapterConfig settings(folder / kConfigName);
  const SafetensorsFile file(folder / kTensorsName);
  const std::string where = file.path().string();
  const auto require_rank = [&](const Pair& pair, const std::string& module, std::int64_t experts) {
    const auto rank = static_cast<std::int64_t>(settings.rank(module));
    require(pair.a.dim(0) == experts * rank, "{}: {} has lora_A {}, and {} says rank {}{}", where,
            printable(pair.module), shape_text(pair.a.shape()), kConfigName, rank,
            experts == 1 ? "" : fmt::format(", of {} experts", experts));
  };
  AdapterFile adapter{file.path(), {}};
  for (const Pair& pair : read_pairs(file)) {
    if (!pair.module.ends_with(".experts")) {
      require(!pair.is_nested, "{}: {} has several adapters, one around the other", where,
              printable(pair.module));
      require_rank(pair, pair.module, 1);
      adapter.parts.push_back({pair.module, pair.a, pair.b, settings.factor(pair.module)});
      continue;
    }
    const StackedAdapter stacked{pair.a, pair.b};
    const std::string parameter = stacked_parameter(config, stacked);
    require(!parameter.empty(),
            "{}: {} has lora_A {} and lora_B {}, which fit neither gate and up of this model's experts nor "
            "down: is it "
            "an adapter of another?",
            where, printable(pair.module), shape_text(pair.a.shape()), shape_text(pair.b.shape()));
    const std::string module = pair.module + "." + parameter;
    require_rank(pair, module, config.n_routed_experts);
    for (const ExpertAdapter& own : take_apart(config, stacked))
      adapter.parts.push_back({pair.module + "." + own.map, own.a, own.b, settings.factor(module)});
  }
  return adapter;
}

}  // namespace fathom
