#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "infer/text_model.h"
#include "model/context.h"
#include "model/latent_cache.h"
#include "text/tokenizer.h"

namespace fathom::cli {

/// How `fathom bench` measures drafts.
struct SpeculationBenchOptions {
  std::string speculate;  // empty, and no draft model: not at all
  std::string draft_model;
  std::int64_t draft_tokens = 7;
  std::vector<std::string> texts;
  std::int64_t prompts = 8;
  std::int64_t answer_tokens = 128;
  double temperature = 0;

  [[nodiscard]] bool is_wanted() const { return !speculate.empty() || !draft_model.empty(); }
};
void add_speculation_bench_options(CLI::App& command, SpeculationBenchOptions& options);

/// What the rest of the command says.
struct SpeculationBenchSetup {
  std::vector<std::int64_t> prompt_tokens;
  std::vector<std::int64_t> batches;
  int rounds = 5;
  LatentType cache_type = LatentType::f16;
  bool has_made_up_weights = false;
  bool prints_rows = true;  // to standard output, as they are measured
};

/// Decodes answers to the same prompts with drafts and without, in turns.
/// @return what was measured, with all its parts
nlohmann::ordered_json run_speculation_bench(const Context& context, const TextModel& model,
                                             const SpeculationBenchOptions& options,
                                             const SpeculationBenchSetup& setup);

/// A vocabulary of so many tokens whose texts are their numbers, for models without one.
Tokenizer numbered_tokens(std::int64_t count);

}  // namespace fathom::cli
