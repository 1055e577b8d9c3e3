#include "model/adapter_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json.h"

namespace fathom {
namespace {

/// What names of modules are made of.
bool is_module_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
}

/// The first value that `module` is called by, whole or by its last names.
std::optional<double> value_for(const std::vector<std::pair<std::string, double>>& pattern,
                                std::string_view module) {
  for (const auto& [name, value] : pattern) {
    if (!module.ends_with(name)) continue;
    if (module.size() == name.size() || module[module.size() - name.size() - 1] == '.') return value;
  }
  return std::nullopt;
}

}  // namespace

class AdapterConfig::Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : path_(path.string()), json_(read_json_file(path, 16U << 20U)) {
    require(json_.is_object(), "{}: is no object", path_);
  }

  void require_plain_lora() const {
    const Json type = json_.value("peft_type", Json());
    require(type == "LORA", "{}: peft_type is {}: only LORA can be applied", path_, printable(type.dump()));
    for (const char* flag : {"use_dora", "fan_in_fan_out", "lora_bias"})
      require(!is_set(flag), "{}: {} is set: only plain LoRA can be applied", path_, flag);
    const Json bias = json_.value("bias", Json("none"));
    require(bias == "none", "{}: bias is {}: biases cannot be adapted", path_, printable(bias.dump()));
    require(!is_set("modules_to_save"), "{}: modules_to_save is set: whole modules cannot be replaced",
            path_);
  }
  [[nodiscard]] bool is_set(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) return false;
    if (found->is_boolean()) return found->get<bool>();
    return !((found->is_array() || found->is_object()) && found->empty());
  }
  [[nodiscard]] double number(const char* key) const { return number_in(key, json_.value(key, Json())); }
  void require_rank(std::string_view key, double rank) const {
    constexpr double kMostRanks = 1 << 20;
    require(rank >= 1 && rank <= kMostRanks && rank == std::floor(rank), "{}: {} is {}, expected a rank",
            path_, printable(key), rank);
  }
  /// PEFT takes regular expressions; what names are made of stands for itself here, and so does what PEFT
  /// itself puts before them where it renames targets: ".*\\.".
  [[nodiscard]] Pattern pattern(const char* key) const {
    constexpr std::string_view kAnywhere = ".*\\.";
    Pattern values;
    if (!is_set(key)) return values;
    const Json& json = json_.at(key);
    require(json.is_object(), "{}: {} is no object", path_, key);
    for (const auto& [text, value] : json.items()) {
      std::string_view name = text;
      if (name.starts_with(kAnywhere)) name.remove_prefix(kAnywhere.size());
      require(is_module_name(name), "{}: {} has {}: only names can be followed, no regular expressions",
              path_, key, printable(text));
      values.emplace_back(name, number_in(text, value));
    }
    return values;
  }

 private:
  [[nodiscard]] double number_in(std::string_view key, const Json& value) const {
    require(value.is_number(), "{}: {} is {}, expected a number", path_, printable(key),
            printable(value.dump()));
    return value.get<double>();
  }

  std::string path_;
  Json json_;
};

AdapterConfig::AdapterConfig(const std::filesystem::path& path) {
  const Reader reader(path);
  reader.require_plain_lora();
  uses_root_ = reader.is_set("use_rslora");
  rank_ = reader.number("r");
  reader.require_rank("r", rank_);
  alpha_ = reader.number("lora_alpha");
  ranks_ = reader.pattern("rank_pattern");
  for (const auto& [name, rank] : ranks_) reader.require_rank(name, rank);
  alphas_ = reader.pattern("alpha_pattern");
}

double AdapterConfig::rank(std::string_view module) const {
  return value_for(ranks_, module).value_or(rank_);
}

double AdapterConfig::factor(std::string_view module) const {
  const double alpha = value_for(alphas_, module).value_or(alpha_);
  return alpha / (uses_root_ ? std::sqrt(rank(module)) : rank(module));
}

}  // namespace fathom
