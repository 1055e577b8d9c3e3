// `fathom bench`: how fast a model runs here, beside what this machine can do.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/bench_speculation.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "infer/expert_report.h"
#include "infer/numa_placement.h"
#include "infer/numa_report.h"
#include "infer/roofline_picture.h"
#include "infer/speed.h"
#include "infer/text_model.h"
#include "model/load.h"
#include "model/synthetic_weights.h"

namespace fathom::cli {
namespace {

struct BenchOptions {
  LatentType cache_type = kDefaultCacheType;
  std::string model;
  std::vector<std::string> lora;
  std::string synthetic;
  std::vector<std::int64_t> prompts = {256};
  std::vector<std::int64_t> depths = {0, 2048};
  std::vector<std::int64_t> batches = {1, 8};
  int rounds = 5;
  ExpertMemory expert_memory;
  bool huge_pages = true;
  SpeculationBenchOptions speculation;
  std::size_t threads = 0;
  NumaChoice numa;
  std::string topology;
  std::string picture;
  bool json = false;
};

DType made_up_type(const std::string& name) {
  const auto type = dtype_from_text(name);
  if (type && (has_encoder(*type) || !is_block_quantized(*type))) return *type;
  throw UsageError(
      fmt::format("--synthetic {}: there is no such type; Q4_0, Q4_K, Q8_0 and BF16 are some", name));
}

ModelConfig config_named(const std::string& model) {
  const std::filesystem::path named(model);
  return load_model_config(std::filesystem::is_directory(named) ? named / "config.json" : named);
}

/// With made-up weights a tokenizer is needed for texts alone.
TextModel model_to_measure(const BenchOptions& options) {
  if (options.synthetic.empty()) {
    TextModel model = load_text_model(options.model, options.expert_memory, options.lora,
                                      uses_huge_pages(options.huge_pages, options.numa));
    model.warmer.finish();
    if (model.warmer.copied() > 0)
      fmt::print(stderr, "[{} of weights lie in huge pages]\n", format_bytes(model.warmer.copied()));
    return model;
  }
  const std::filesystem::path named(options.model);
  const std::filesystem::path folder =
      std::filesystem::is_directory(named) ? named : named.parent_path() / "";
  ModelConfig config = config_named(options.model);
  Tokenizer tokenizer =
      options.speculation.texts.empty() ? numbered_tokens(config.vocab_size) : Tokenizer::load(folder);
  // Modules take memory, and draft alone.
  if (!options.speculation.is_wanted()) config.num_nextn_predict_layers = 0;
  ThreadPool pool(options.threads);
  TransformerWeights weights = synthetic_weights(pool, config, made_up_type(options.synthetic), 1);
  add_named_adapters(config, weights, options.lora);
  return {folder, std::move(config), std::move(weights), std::move(tokenizer)};
}

/// Whether most bytes of a token's weights are multiplied as integers.
bool is_integer_model(const TransformerWeights& weights) {
  const BlockWeights& last = weights.layers.back();
  const LinearWeight& map = last.moe.experts.empty() ? last.mlp.gate_proj : last.moe.experts[0].gate_proj;
  return is_block_quantized(map.weight.dtype());
}

std::vector<SpeedCase> cases(const BenchOptions& options) {
  std::vector<SpeedCase> all;
  for (const std::int64_t tokens : options.prompts) all.push_back({tokens, 1, 0});
  for (const std::int64_t depth : options.depths)
    for (const std::int64_t batch : options.batches) all.push_back({1, batch, depth});
  return all;
}

nlohmann::ordered_json json_of(const SpeedResult& result, bool integers) {
  return {{"tokens", result.what.tokens},
          {"sequences", result.what.sequences},
          {"depth", result.what.depth},
          {"tokens_per_second", result.tokens_per_second()},
          {"mean_tokens_per_second", result.mean_tokens_per_second()},
          {"limit_tokens_per_second", result.most_tokens_per_second(integers)},
          {"weight_bytes", result.cost.weight_bytes},
          {"cache_bytes", result.cost.cache_bytes},
          {"weight_operations", result.cost.weight_operations},
          {"attention_operations", result.cost.attention_operations},
          {"experts_touched", result.cost.experts_touched},
          {"memory_bytes_per_second", result.machine.bytes_per_second},
          {"integer_operations_per_second", result.machine.integer_operations},
          {"float_operations_per_second", result.machine.float_operations}};
}

void print_row(const SpeedResult& result, bool integers) {
  const double limit = result.most_tokens_per_second(integers);
  fmt::print("{:<30} {:>8.2f} {:>8.2f} {:>8.2f} {:>5.0f} % {:>9.2f} {:>8.1f} {:>6.1f} {:>9.0f} {:>8.0f}\n",
             case_name(result.what), result.tokens_per_second(), result.mean_tokens_per_second(), limit,
             100 * result.tokens_per_second() / limit, result.cost.weight_bytes * 1e-9,
             result.cost.experts_touched, result.machine.bytes_per_second * 1e-9,
             result.machine.integer_operations * 1e-9, result.machine.float_operations * 1e-9);
}

/// Of the latent caches of the case that needs most.
std::uint64_t most_cache_bytes(const BenchOptions& options, const ModelConfig& config) {
  const LatentPageLayout layout(config, options.cache_type, kPagePositions);
  std::int64_t bytes = 0;
  for (const SpeedCase& what : cases(options))
    bytes = std::max(bytes, what.sequences * layout.pages(what.depth + what.tokens) * layout.page_bytes());
  return static_cast<std::uint64_t>(bytes);
}

/// What --numa would do on another machine, where nothing is measured.
void print_plan(const BenchOptions& options) {
  const Topology machine = described_topology(options.topology);
  const NumaChoice choice =
      options.numa.policy == NumaPolicy::off ? NumaChoice{NumaPolicy::distribute} : options.numa;
  const auto plan_of = [&](const ModelConfig& config, std::vector<WeightSize> sizes) {
    return plan_numa(machine, choice, options.threads,
                     {config, std::move(sizes), most_cache_bytes(options, config), nullptr});
  };
  NumaPlan plan;
  if (options.synthetic.empty()) {
    const TextModel model = load_text_model(options.model);
    plan = plan_of(model.config, weight_sizes(model.config, model.weights));
  } else {
    ModelConfig config = config_named(options.model);
    config.num_nextn_predict_layers = 0;  // which are measured with --speculate alone
    plan = plan_of(config, synthetic_weight_sizes(config, made_up_type(options.synthetic)));
  }
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"numa", numa_plan_json(plan)}}.dump(2));
  } else {
    fmt::print("{}planned from a description, not measured\n", numa_plan_text(plan));
  }
}

/// Prefill and decoding of random tokens.
nlohmann::ordered_json run_cases(const BenchOptions& options, const Context& context,
                                 const TextModel& loaded) {
  std::int64_t positions = 1;
  for (const SpeedCase& what : cases(options)) positions = std::max(positions, what.depth + what.tokens);
  const Transformer model(loaded.config, loaded.weights, positions);
  const bool integers = is_integer_model(loaded.weights);
  std::vector<SpeedResult> results;
  if (!options.json)
    fmt::print("{:<30} {:>8} {:>8} {:>8} {:>7} {:>9} {:>8} {:>6} {:>9} {:>8}\n", "", "tokens/s", "mean",
               "limit", "share", "GB a pass", "experts", "GB/s", "int GOP/s", "f32 GF/s");
  for (SpeedCase what : cases(options)) {
    what.cache_type = options.cache_type;
    results.push_back(measure_speed(context, model, loaded.weights, what, options.rounds));
    if (!options.json) print_row(results.back(), integers);
  }
  if (!options.picture.empty()) {
    write_file_atomically(options.picture, roofline_svg(results, integers));
    fmt::print(stderr, "{}: the measurements under this machine's roof\n", options.picture);
  }
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const SpeedResult& result : results) all.push_back(json_of(result, integers));
  return all;
}

void run_bench(const BenchOptions& options) {
  if (!options.topology.empty()) {
    print_plan(options);
    return;
  }
  const bool speculates = options.speculation.is_wanted();
  if (speculates && !options.picture.empty())
    throw UsageError("--picture draws what is measured without --speculate: leave one of them out");
  TextModel model = model_to_measure(options);
  const PlacedModel placed =
      place_model(options.numa, options.threads, model.config, model.weights,
                  {most_cache_bytes(options, model.config), model.expert_cache == nullptr, nullptr});
  const Context context{*placed.pool};
  if (!options.json) {
    if (placed.plan) fmt::print("{}", numa_plan_text(*placed.plan));
    fmt::print("{} threads\n", placed.pool->threads());
  }
  nlohmann::ordered_json report;
  if (placed.plan) report["numa"] = numa_plan_json(*placed.plan);
  if (speculates)
    report["speculation"] =
        run_speculation_bench(context, model, options.speculation,
                              {options.prompts, options.batches, options.rounds, options.cache_type,
                               !options.synthetic.empty(), !options.json});
  else
    report["measurements"] = run_cases(options, context, model);
  const ExpertCache* experts = model.expert_cache.get();
  if (experts != nullptr) report["experts"] = expert_report_json(experts->stats());
  if (options.json) fmt::print("{}\n", report.dump(2));
  if (experts != nullptr) fmt::print(stderr, "[{}]\n", expert_report_text(experts->stats()));
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand(
      "bench",
      "Measure a model's prefill and decode beside the limits of this machine's memory and arithmetic");
  command
      ->add_option(
          "model", options->model,
          "Model folder or file; with --synthetic a config.json is enough, and no weights are needed")
      ->required();
  command->add_option("--synthetic", options->synthetic,
                      "Make up weights of this type (Q4_0, Q4_K, Q8_0, BF16, ...) for the model's shapes");
  command->add_option("--prompt", options->prompts, "Tokens of prompts to read at once")
      ->delimiter(',')
      ->check(at_least(2));
  command->add_option("--depth", options->depths, "Tokens in the cache before a decoded one")
      ->delimiter(',')
      ->check(at_least(0));
  command->add_option("--batch", options->batches, "Sequences that decode together")
      ->delimiter(',')
      ->check(at_least(1));
  command
      ->add_option("--rounds", options->rounds,
                   "Passes of which the fastest counts; with --speculate, turns of which the "
                   "median does")
      ->check(at_least(1));
  add_speculation_bench_options(*command, options->speculation);
  add_cache_type_option(*command, options->cache_type);
  add_expert_memory_option(*command, options->expert_memory);
  add_huge_pages_option(*command, options->huge_pages);
  add_lora_option(*command, options->lora);
  add_threads_option(*command, options->threads);
  add_numa_option(*command, options->numa);
  command
      ->add_option("--topology", options->topology,
                   "Print what --numa (default here: distribute) does on a machine described as hwloc does, "
                   "\"pack:2 [numa(memory=384GB)] core:32 pu:2\", and measure nothing")
      ->option_text("MACHINE");
  command->add_option("--picture", options->picture,
                      "Draw the measurements under this machine's roofline: an SVG file");
  command->add_flag("--json", options->json,
                    "Print one JSON object: the measurements with all their parts, what reading "
                    "experts did, and with --numa the plan");
  command->callback([options] { run_bench(*options); });
}

}  // namespace fathom::cli
