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
#include <string>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "cli/job.h"
#include "dist/expert_counts_file.h"
#include "infer/engine.h"
#include "infer/serving_rank.h"
#include "infer/text_model.h"
#include "serve/http_server.h"

namespace fathom::cli {
namespace {

struct ServeOptions {
  std::string model;
  HttpOptions http;
  EngineOptions engine;
  std::int64_t cache_mib = 2048;
  LatentType cache_type = kDefaultCacheType;
  int prefill_processes = 0;
  std::int64_t redundant_experts = 0;
  std::string expert_load;
  std::string write_expert_load;
  std::size_t threads = 0;
};

/// Positions of latent caches that so much memory holds.
std::int64_t positions_in(std::int64_t mib, const ModelConfig& config, LatentType cache_type) {
  const std::int64_t bytes = LatentPageLayout(config, cache_type, kPagePositions).position_bytes();
  const std::int64_t positions = (mib << 20U) / bytes;
  require(positions > 1, "--cache-memory {}: a token's latent cache takes {} bytes: give more", mib, bytes);
  return positions;
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
  HttpServer server(engine, model.tokenizer, http);
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

void serve(const ServeOptions& options, Communicator& job) {
  const ServingLayout layout = serving_layout(job.size(), options.prefill_processes);
  const TextModel model = load_text_model(options.model);
  PlacementOptions placement{options.redundant_experts, {}};
  if (!options.expert_load.empty()) placement.counts = read_expert_counts(options.expert_load, model.config);
  ThreadPool pool(options.threads > 0 ? options.threads : default_threads());
  const Transformer transformer(model.config, model.weights, model.config.max_position_embeddings);
  ServingRank rank(pool, transformer, model.tokenizer, job, layout, placement, options.cache_type);
  // Also where somebody else decides when to end: all are signalled together.
  const InterruptFlag interrupted;
  if (job.rank() == 0) {
    EngineOptions engine_options = options.engine;
    engine_options.cache_positions = positions_in(options.cache_mib, model.config, options.cache_type);
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
  add_cache_type_option(*command, options->cache_type);
  add_threads_option(*command, options->threads);
  command->callback([options] { run_in_job([&](Communicator& job) { serve(*options, job); }); });
}

}  // namespace fathom::cli
