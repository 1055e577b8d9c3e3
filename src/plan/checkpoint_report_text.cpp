#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <tuple>

#include "base/error.h"
#include "base/progress.h"
#include "io/gguf.h"
#include "plan/checkpoint_report.h"
#include "plan/name_groups.h"
#include "plan/text_table.h"

namespace fathom {
namespace {

std::string plural(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", format_count(count), noun, count == 1 ? "" : "s");
}

std::string architecture(const ModelConfig& config) {
  std::string text = fmt::format(
      "{}: {} ({} dense), hidden {}, {} heads, vocabulary {}, kv_lora_rank {} + {} rope, q_lora_rank {}",
      config.family == ModelFamily::deepseek_v3 ? "deepseek_v3" : "deepseek_v2",
      plural(static_cast<std::uint64_t>(config.num_hidden_layers), "layer"),
      config.n_routed_experts > 0 ? std::min(config.first_k_dense_replace, config.num_hidden_layers)
                                  : config.num_hidden_layers,
      config.hidden_size, config.num_attention_heads,
      format_count(static_cast<std::uint64_t>(config.vocab_size)), config.kv_lora_rank,
      config.qk_rope_head_dim, config.q_lora_rank > 0 ? std::to_string(config.q_lora_rank) : "none");
  if (config.rope_scaling) text += fmt::format(", YaRN × {:g}", config.rope_scaling->factor);
  return text;
}

std::string experts(const ModelConfig& config) {
  const char* scoring = config.scoring_func == ScoringFunc::sigmoid ? "sigmoid" : "softmax";
  std::string text = fmt::format("{} routed, {} a token by {}", config.n_routed_experts,
                                 config.num_experts_per_tok, scoring);
  if (config.n_group > 1) text += fmt::format(", from {} of {} groups", config.topk_group, config.n_group);
  return text + fmt::format("; {} shared", config.n_shared_experts);
}

std::string parameters(const ParameterCounts& counts) {
  const auto count = [](std::int64_t value) { return format_count(static_cast<std::uint64_t>(value)); };
  std::string text =
      fmt::format("{}, activated a token {} ({} without the input embedding)", count(counts.total),
                  count(counts.activated), count(counts.activated_without_input_embedding));
  if (counts.mtp_module > 0) text += fmt::format("; one MTP module {}", count(counts.mtp_module));
  return text;
}

std::string memory(const CheckpointReport& report) {
  const MemoryEstimate estimate = estimate_memory(report);
  std::string text = "weights " + format_bytes(estimate.weights);
  if (estimate.weights_fp8) text += fmt::format(" in BF16, {} in FP8", format_bytes(*estimate.weights_fp8));
  for (std::string separator = "; latent cache a token: ";
       const auto& [type, bytes] : estimate.latent_cache) {
    text += fmt::format("{}{:.3f} KB in {}", separator, static_cast<double>(bytes) / 1000.0,
                        kernels::latent_type_name(type));
    separator = ", ";
  }
  return text;
}

/// A few lines on how weights and config differ; one line where they do not.
std::vector<TableRow> match_rows(const CheckpointMatch& match) {
  constexpr std::size_t kMostShown = 5;
  std::vector<TableRow> rows;
  const auto add = [&](std::string_view what, std::vector<std::string> items) {
    if (items.empty()) return;
    rows.push_back({"", fmt::format("{} {}:", plural(items.size(), "tensor"), what)});
    for (std::size_t i = 0; i < std::min(items.size(), kMostShown); ++i)
      rows.push_back({"", "  " + printable(items[i])});
    if (items.size() > kMostShown)
      rows.push_back({"", fmt::format("  and {} more", items.size() - kMostShown)});
  };
  std::vector<std::string> wrong;
  for (const CheckpointMatch::WrongShape& w : match.wrong_shape)
    wrong.push_back(fmt::format("{} is {}, needs {} ({})", w.needed.name, shape_text(w.found),
                                shape_text(w.needed.shape), w.needed.sizes));
  add("that config.json needs missing", match.missing);
  add("of a shape other than config.json needs", wrong);
  add("without a place in the model", match.surplus);
  if (rows.empty()) rows.push_back({"", "the weights are those that config.json describes"});
  if (match.mtp_left_out) rows.push_back({"", "without the MTP modules that config.json announces"});
  rows.front().front() = "match";
  return rows;
}

std::vector<TableRow> summary_rows(const CheckpointReport& report) {
  std::vector<TableRow> rows;
  if (!report.files.empty()) {
    std::uint64_t bytes = 0;
    for (const CheckpointReport::File& file : report.files) bytes += file.bytes;
    rows.push_back({"files", fmt::format("{}, {}",
                                         plural(report.files.size(),
                                                is_gguf_path(report.path) ? "GGUF file" : "safetensors file"),
                                         format_bytes(bytes))});
  }
  if (report.config) {
    rows.push_back({"model", architecture(*report.config)});
    if (report.config->n_routed_experts > 0) rows.push_back({"experts", experts(*report.config)});
    rows.push_back({"parameters", parameters(*report.parameters)});
  }
  rows.push_back({"memory", memory(report)});
  if (!report.config_problem.empty()) rows.push_back({"config", printable(report.config_problem)});
  if (report.match) std::ranges::copy(match_rows(*report.match), std::back_inserter(rows));
  for (const auto& [key, value] : report.metadata)
    rows.push_back({"metadata", printable(fmt::format("{} = {}", key, value))});
  return rows;
}

/// Tensors of one type and shape that differ in numbers only share a line.
std::string tensor_table(const CheckpointReport& report) {
  std::map<std::tuple<std::string, Shape>, std::vector<std::string>> alike;
  std::map<std::string, std::uint64_t> bytes_of;
  for (const auto& [entry, file] : report.tensors) {
    alike[{entry.dtype, entry.shape}].push_back(entry.name);
    bytes_of[entry.name] = entry.bytes;
  }
  // Grouped by type and shape, then put back into the order of the names.
  std::map<std::string, TableRow> row_of;  // by first name
  std::vector<std::string> firsts;
  for (const auto& [kind, names] : alike) {
    for (const NameGroup& group : group_names(names)) {
      const std::string& first = group.names.front();
      firsts.push_back(first);
      row_of[first] = {printable(group.pattern), std::get<0>(kind), shape_text(std::get<1>(kind)),
                       format_count(group.names.size()), format_bytes(bytes_of[first] * group.names.size())};
    }
  }
  std::vector<TableRow> rows = {{"tensor", "type", "shape", "count", "size"}};
  for (const std::string& first : in_name_order(firsts)) rows.push_back(std::move(row_of[first]));
  return text_table(rows, 3);
}

std::string totals_table(const CheckpointReport& report) {
  std::vector<TableRow> rows = {{"type", "tensors", "elements", "size"}};
  const auto add = [&](const std::string& label, const CheckpointReport::Totals& totals) {
    rows.push_back(
        {label, format_count(totals.tensors), format_count(totals.elements), format_bytes(totals.bytes)});
  };
  for (const auto& [dtype, totals] : report.by_dtype) add(dtype, totals);
  if (report.by_dtype.size() != 1) add("all", report.totals);
  return text_table(rows, 1);
}

}  // namespace

std::string report_to_text(const CheckpointReport& report) {
  std::string text = printable(report.path) + "\n" + text_table(summary_rows(report), 2);
  if (!report.files.empty()) text += "\n" + tensor_table(report) + "\n" + totals_table(report);
  return text;
}

}  // namespace fathom
