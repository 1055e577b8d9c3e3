#include "train/run_facts.h"

#include <fmt/core.h>

#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "model/weights.h"

namespace fathom {

namespace {

std::string batch_text(const TrainingConfig& training) {
  const std::string ramp =
      training.initial_batch_size > 0 ? fmt::format("{} to ", training.initial_batch_size) : std::string();
  return fmt::format("{}{} sequences of {} tokens", ramp, training.batch_size, training.sequence_length);
}

}  // namespace

Report::Facts run_facts(const ModelConfig& config, const TrainingConfig& training,
                        const DataManifest& manifest) {
  const ParameterCounts counts = count_parameters(config);
  const auto number = [](std::int64_t value) { return format_count(static_cast<std::uint64_t>(value)); };
  Report::Facts list = {
      {"Parameters", number(counts.total)},
      {"Activated per token", number(counts.activated)},
      {"Layers", number(config.num_hidden_layers)},
      {"Hidden size", number(config.hidden_size)},
      {"Experts", config.n_routed_experts == 0
                      ? std::string("none")
                      : fmt::format("{} routed, {} chosen, {} shared", config.n_routed_experts,
                                    config.num_experts_per_tok, config.n_shared_experts)},
      {"Vocabulary", number(config.vocab_size)},
      {"Training text",
       fmt::format("{}, {} tokens", format_bytes(static_cast<std::uint64_t>(manifest.train.bytes)),
                   number(manifest.train.tokens))},
      {"Held-out text",
       fmt::format("{}, {} tokens", format_bytes(static_cast<std::uint64_t>(manifest.held_out.bytes)),
                   number(manifest.held_out.tokens))},
      {"Batch", batch_text(training)},
      {"Seed", number(training.seed)}};
  if (counts.mtp_module > 0) list.insert(list.begin() + 2, {"MTP module", number(counts.mtp_module)});
  return list;
}

std::string run_name(const std::filesystem::path& folder) {
  const std::filesystem::path whole = std::filesystem::absolute(folder).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

void warn_of_changes(const std::filesystem::path& file, const TrainingConfig& training) {
  if (!std::filesystem::exists(file)) return;
  const Json before = read_json_file(file);
  if (!before.contains("training") || !before.at("training").is_object()) return;
  const OrderedJson now = training_config_to_json(training);
  // A key that an older version did not have was what it is by default.
  const OrderedJson defaults = training_config_to_json(TrainingConfig{});
  for (const auto& [key, value] : now.items()) {
    const Json old = before.at("training").value(key, Json::parse(defaults.at(key).dump()));
    if (old != Json::parse(value.dump()))
      log_warning("training.{} was {} and is {} from here on", key, old.dump(), value.dump());
  }
}

void write_run_config(const std::filesystem::path& file, const ModelConfig& config,
                      const TrainingConfig& training) {
  OrderedJson json = model_config_to_json(config);
  json["training"] = training_config_to_json(training);
  write_file_atomically(file, json.dump(2) + "\n");
}

}  // namespace fathom
