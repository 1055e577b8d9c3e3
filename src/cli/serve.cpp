// `fathom serve`: an OpenAI-compatible HTTP API, on one process or on many.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "cli/job.h"
#include "dist/expert_counts_file.h"
#include "infer/drafter_choice.h"
#include "infer/engine.h"
#include "infer/prefix_tiers.h"
#include "infer/serving_rank.h"
#include "infer/speculation.h"
#include "infer/text_model.h"
#include "model/fingerprint.h"
#include "serve/http_server.h"

namespace fathom::cli {
namespace {

struct ServeOptions {
  std::string model;
  std::vector<std::string> lora;
  HttpOptions http;
  EngineOptions engine;
  std::int64_t cache_mib = 2048;
  bool no_prefix_sharing = false;
  std::uint64_t prefix_memory = 0;
  std::string prefix_folder;
  std::uint64_t prefix_bytes = std::uint64_t{8} << 30U;
  std::string speculate = "auto";
  std::string draft_model;
  SpeculationOptions speculation;
  int prefill_processes = 0;
  std::int64_t redundant_experts = 0;
  std::string expert_load;
  std::string write_expert_load;
  ExpertMemory expert_memory;
  bool huge_pages = true;
  NumaChoice numa;
  std::size_t threads = 0;
};

/// As many whole pages of latent caches as so much memory holds.
/// @param drafter  what it keeps of each token counts, too; null: none
CacheOptions cache_options(const ServeOptions& options, const ModelConfig& config, const Drafter* drafter) {
  CacheOptions cache = options.engine.cache;
  cache.shares_prefixes = !options.no_prefix_sharing;
  const std::int64_t bytes = LatentPageLayout(config, cache.type, cache.page_positions).page_bytes() +
                             (drafter != nullptr ? drafter->bytes_per_token() * cache.page_positions : 0);
  const std::int64_t pages = (options.cache_mib << 20U) / bytes;
  require(pages > 0, "--cache-memory {}: a page of {} tokens' latent caches takes {} bytes: give more",
          options.cache_mib, cache.page_positions, bytes);
  cache.positions = pages * cache.page_positions;
  return cache;
}

std::unique_ptr<PrefixTiers> open_tiers(const ServeOptions& options, const TextModel& model,
                                        const CacheOptions& cache) {
  if (options.prefix_folder.empty() && options.prefix_memory == 0) return nullptr;
  std::unique_ptr<PrefixStore> folder;
  if (!options.prefix_folder.empty()) {
    const LatentPageLayout layout(model.config, cache.type, cache.page_positions);
    folder = std::make_unique<PrefixStore>(
        options.prefix_folder, options.prefix_bytes,
        CacheFileKey{model_fingerprint(model.config, model.weights), layout.row, layout.layers},
        cache.page_positions);
  }
  return std::make_unique<PrefixTiers>(options.prefix_memory, std::move(folder));
}

std::string name_of(const ServeOptions& options) {
  if (!options.http.model.empty()) return options.http.model;
  const std::filesystem::path path = std::filesystem::path(options.model).lexically_normal();
  return path.has_filename() ? path.filename() : path.parent_path().filename();
}

/// Serves until somebody asks to end, or the engine fails.
void serve_until_asked(Engine& engine, const TextModel& model, const ServeOptions& options, Communicator& job,
                       const InterruptFlag& interrupted, std::future<void>& failure) {
  HttpOptions http = options.http;
  http.model = name_of(options);
  HttpServer server(engine, model.tokenizer, http, model.expert_cache.get());
  log_info("serving {} on http://{}:{}/v1{}", http.model, http.host, server.port(),
           job.size() == 1 ? "" : fmt::format(", with {} processes", job.size()));
  while (failure.wait_for(std::chrono::milliseconds(50)) == std::future_status::timeout)
    if (interrupted.raised()) {
      log_info("ending, when the {} requests under way are answered", engine.under_way());
      server.drain();
      return;
    }
  failure.get();
}

/// Steps of several processes are planned token for token, which leaves no room for drafts.
DrafterChoice choice_of_drafter(const ServeOptions& options, const Communicator& job) {
  validate_speculation_options(options.speculation);
  DrafterChoice choice{drafter_kind_of(options.speculate), options.draft_model};
  if (job.size() == 1) return choice;
  const bool is_wanted = !choice.draft_model.empty() ||
                         (choice.kind != DrafterKind::automatic && choice.kind != DrafterKind::off);
  require(!is_wanted, "drafts are for a server of one process, and this one has {}: leave --speculate out",
          job.size());
  if (job.rank() == 0 && choice.kind == DrafterKind::automatic)
    log_info("no tokens are drafted: that is for a server of one process, and this one has {}", job.size());
  choice.kind = DrafterKind::off;
  return choice;
}

void serve(const ServeOptions& options, Communicator& job) {
  const DrafterChoice choice = choice_of_drafter(options, job);
  const ServingLayout layout = serving_layout(job.size(), options.prefill_processes);
  ExpertMemory expert_memory = options.expert_memory;
  expert_memory.reserved_bytes =
      (static_cast<std::uint64_t>(options.cache_mib) << 20U) + options.prefix_memory;
  require(job.size() == 1 || options.numa.policy == NumaPolicy::off,
          "--numa is for a server of one process, and this one has {}: have mpirun bind processes to nodes",
          job.size());
  // Several processes share a file's pages, but would each have a copy.
  TextModel model = load_text_model(options.model, expert_memory, options.lora,
                                    uses_huge_pages(options.huge_pages, options.numa) && job.size() == 1);
  PlacementOptions placement{options.redundant_experts, {}};
  if (!options.expert_load.empty()) placement.counts = read_expert_counts(options.expert_load, model.config);
  const std::unique_ptr<ThreadPool> pool =
      place_text_model(options.numa, options.threads > 0 ? options.threads : default_threads(), model,
                       expert_memory.reserved_bytes, placement.counts.empty() ? nullptr : &placement.counts);
  const Transformer transformer(model.config, model.weights, model.config.max_position_embeddings);
  const ChosenDrafter drafter(choice, model, transformer, transformer.max_positions());
  std::optional<Speculation> speculation;
  if (drafter.get() != nullptr) speculation.emplace(model.config, *drafter.get(), options.speculation);
  const CacheOptions cache = cache_options(options, model.config, drafter.get());
  ServingRank rank(*pool, transformer, model.tokenizer, job, layout, placement, cache);
  GrammarCompiler grammars(model.tokenizer, model.end_of_text());
  rank.runner().use_grammars(grammars);
  if (speculation) rank.runner().speculate(*speculation);
  // Also where somebody else decides when to end: all are signalled together.
  const InterruptFlag interrupted;
  if (job.rank() == 0) {
    EngineOptions engine_options = options.engine;
    engine_options.cache = cache;
    const std::unique_ptr<PrefixTiers> tiers = open_tiers(options, model, cache);
    engine_options.tiers = tiers.get();
    std::promise<void> failed;
    std::future<void> failure = failed.get_future();
    std::once_flag first;
    Engine engine(job, layout, rank.runner(), transformer, model.tokenizer, model.end_of_text(),
                  engine_options, [&](const std::exception_ptr& error) {
                    std::call_once(first, [&] { failed.set_exception(error); });
                  });
    serve_until_asked(engine, model, options, job, interrupted, failure);
  } else {
    rank.follow();
  }
  const ExpertCounts counts = rank.all_expert_counts();
  if (job.rank() == 0 && !options.write_expert_load.empty())
    write_file_atomically(options.write_expert_load, expert_counts_text(model.config, counts));
}

}  // namespace

void add_serve(CLI::App& app) {
  auto options = std::make_shared<ServeOptions>();
  options->engine.cache.type = kDefaultCacheType;
  CLI::App* command = app.add_subcommand("serve", "Answer requests over HTTP, as OpenAI's API has them");
  command->add_option("model", options->model, kModelHelp)->required();
  command->add_option("--host", options->http.host, "Address to listen on; 0.0.0.0: all of this machine's")
      ->capture_default_str();
  command->add_option("--port", options->http.port, "0: any that is free")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_option("--model-name", options->http.model,
                      "What clients call the model (default: the folder's name)");
  command
      ->add_option("--cache-memory", options->cache_mib,
                   "MiB for latent caches, in each process; requests wait while there is no room")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30U))
      ->capture_default_str();
  add_cache_type_option(*command, options->engine.cache.type);
  add_expert_memory_option(*command, options->expert_memory);
  add_huge_pages_option(*command, options->huge_pages);
  command->add_flag("--no-prefix-sharing", options->no_prefix_sharing,
                    "Do not let prompts that begin alike share the latents of what they have in common");
  command
      ->add_option(
          "--prefix-cache-memory", options->prefix_memory,
          "Memory, as 500M or 20G, for latents of prefixes that --cache-memory has no room for (default: "
          "none); those used least recently go, into --prefix-cache-dir where there is one")
      ->transform(CLI::AsSizeValue(false));
  command->add_option("--prefix-cache-dir", options->prefix_folder,
                      "Folder for latents of prefixes that memory has no room for; they outlive the server");
  command
      ->add_option("--prefix-cache-bytes", options->prefix_bytes,
                   "What this folder may take, as 500M or 20G (default: 8G); those used least recently go")
      ->transform(CLI::AsSizeValue(false));
  command
      ->add_option("--step-tokens", options->engine.step_tokens,
                   "Tokens that a process takes in one step: fewer delay answers less while prompts are read")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{65536}))
      ->capture_default_str();
  command
      ->add_option("--max-waiting", options->engine.max_waiting,
                   "Requests that may wait for room; further ones are told to try again later")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20U))
      ->capture_default_str();
  command
      ->add_option(
          "--prefill-processes", options->prefill_processes,
          "Of the processes that mpirun started, the first ones that only read prompts; 0: all do all")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--redundant-experts", options->redundant_experts,
                   "Copies of busy experts in each layer, over all processes (of each kind)")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--expert-load", options->expert_load,
                      "File with counts of tokens by layer and expert, by which experts are placed");
  command->add_option("--write-expert-load", options->write_expert_load,
                      "File to write the counts of this run to, in the end");
  add_speculation_options(*command, options->speculate, options->draft_model,
                          options->speculation.most_drafts);
  add_lora_option(*command, options->lora);
  add_threads_option(*command, options->threads);
  add_numa_option(*command, options->numa);
  command->callback([options] { run_in_job([&](Communicator& job) { serve(*options, job); }); });
}

}  // namespace fathom::cli
