#include <nlohmann/json.hpp>

#include "plan/checkpoint_report.h"

namespace fathom {
namespace {

OrderedJson totals_to_json(const CheckpointReport::Totals& totals) {
  return {{"tensors", totals.tensors}, {"elements", totals.elements}, {"bytes", totals.bytes}};
}

OrderedJson match_to_json(const CheckpointMatch& match) {
  OrderedJson wrong_shape = OrderedJson::array();
  for (const CheckpointMatch::WrongShape& wrong : match.wrong_shape)
    wrong_shape.push_back({{"name", wrong.needed.name},
                           {"shape", wrong.found},
                           {"needed", wrong.needed.shape},
                           {"sizes", wrong.needed.sizes}});
  return {{"complete", match.complete()},
          {"mtp_modules_absent", match.mtp_left_out},
          {"missing", match.missing},
          {"wrong_shape", wrong_shape},
          {"surplus", match.surplus}};
}

template <typename T>
OrderedJson or_null(const std::optional<T>& value) {
  return value ? OrderedJson(*value) : OrderedJson();
}

}  // namespace

OrderedJson report_to_json(const CheckpointReport& report) {
  OrderedJson json;
  json["path"] = report.path;
  json["files"] = OrderedJson::array();
  for (const CheckpointReport::File& file : report.files)
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"tensors", file.tensors}});
  json["totals"] = totals_to_json(report.totals);
  json["by_dtype"] = OrderedJson::object();
  for (const auto& [dtype, totals] : report.by_dtype) json["by_dtype"][dtype] = totals_to_json(totals);
  json["metadata"] = report.metadata;
  json["config"] = report.config ? model_config_to_json(*report.config) : OrderedJson();
  if (!report.config_problem.empty()) json["config_problem"] = report.config_problem;
  if (report.parameters) {
    const ParameterCounts& counts = *report.parameters;
    json["parameters"] = {{"total", counts.total},
                          {"activated", counts.activated},
                          {"activated_without_input_embedding", counts.activated_without_input_embedding},
                          {"mtp_module", counts.mtp_module}};
  }
  const MemoryEstimate memory = estimate_memory(report);
  json["memory"] = {{"weights_bytes", memory.weights}, {"weights_fp8_bytes", or_null(memory.weights_fp8)}};
  for (const auto& [type, bytes] : memory.latent_cache)
    json["memory"]["latent_cache_bytes_per_token"][kernels::latent_type_name(type)] = bytes;
  if (report.match) json["match"] = match_to_json(*report.match);
  json["tensors"] = OrderedJson::array();
  for (const auto& [entry, file] : report.tensors)
    json["tensors"].push_back({{"name", entry.name},
                               {"dtype", entry.dtype},
                               {"shape", entry.shape},
                               {"bytes", entry.bytes},
                               {"file", file},
                               {"offset", entry.offset}});
  return json;
}

}  // namespace fathom
