#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom {

/// PEFT's adapter_config.json, as far as it matters.
class AdapterConfig {
 public:
  /// Throws `Error` naming file and field for what is wrong, and for what is no plain LoRA.
  explicit AdapterConfig(const std::filesystem::path& path);

  /// Of a module, by its name in the model.
  [[nodiscard]] double rank(std::string_view module) const;
  /// What B · A of it is multiplied with.
  [[nodiscard]] double factor(std::string_view module) const;

 private:
  /// Values of some modules, by the ends of their names.
  using Pattern = std::vector<std::pair<std::string, double>>;
  class Reader;

  double rank_ = 0;
  double alpha_ = 0;
  bool uses_root_ = false;
  Pattern ranks_;
  Pattern alphas_;
};

}  // namespace fathom
