// `fathom plan cache`: what a model keeps of each token while it generates.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/progress.h"
#include "cli/plan.h"
#include "plan/kv_cache.h"
#include "plan/named_file.h"
#include "plan/text_table.h"

namespace fathom::cli {
namespace {

struct PlanCacheOptions {
  std::vector<std::string> configs = {"deepseek-v3", "qwen2.5-72b", "llama-3.1-405b"};
  double value_bytes = 2;
  std::int64_t context = 131072;
  bool json = false;
};

void plan_cache(const PlanCacheOptions& options) {
  std::vector<TableRow> rows = {
      {"model", "attention", "values per layer", "layers", "KB per token", "one context"}};
  OrderedJson list = OrderedJson::array();
  for (const std::string& config : options.configs) {
    const NamedText file = read_named_text("models", config);
    const CacheShape shape = cache_shape(parse_json(file.text, file.where), file.where);
    const double bytes = static_cast<double>(shape.values_per_token()) * options.value_bytes;
    const char* attention = shape.is_latent ? "latent" : "grouped heads";
    const auto whole = static_cast<std::uint64_t>(bytes * static_cast<double>(options.context));
    rows.push_back({file.where, attention, fmt::format("{}", shape.values_per_layer),
                    fmt::format("{}", shape.layers), fmt::format("{:.3f}", bytes / 1000),
                    format_bytes(whole)});
    list.push_back({{"model", file.where},
                    {"latent", shape.is_latent},
                    {"layers", shape.layers},
                    {"values_per_layer", shape.values_per_layer},
                    {"bytes_per_token", bytes},
                    {"context", options.context},
                    {"context_bytes", whole}});
  }
  if (options.json) {
    fmt::print("{}\n", list.dump(2));
  } else {
    fmt::print(
        "{}\nKB are 1,000 bytes; {:g} bytes a value, a context of {} tokens; MTP modules not "
        "counted.\n",
        text_table(rows, 2), options.value_bytes, format_count(static_cast<std::uint64_t>(options.context)));
  }
}

}  // namespace

void add_plan_cache(CLI::App& plan) {
  auto options = std::make_shared<PlanCacheOptions>();
  CLI::App* command =
      plan.add_subcommand("cache", "Says how many bytes a model keeps of each token while it generates");
  command
      ->add_option("CONFIG", options->configs,
                   "config.json files, model folders, or names of built-in configs")
      ->capture_default_str();
  constexpr double kMostBytes = 8;
  command->add_option("--value-bytes", options->value_bytes, "Of a cached value: 2 for BF16, 1 for FP8")
      ->check(CLI::Range(0.25, kMostBytes))
      ->capture_default_str();
  constexpr std::int64_t kMostContext = std::int64_t{1} << 31U;
  command->add_option("--context", options->context, "Tokens of the last column's context")
      ->check(CLI::Range(std::int64_t{1}, kMostContext))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { plan_cache(*options); });
}

}  // namespace fathom::cli
