#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "infer/expert_memory.h"
#include "infer/numa_placement.h"
#include "infer/text_model.h"
#include "model/latent_cache.h"

namespace fathom::cli {

/// The longest text that a command takes from one `--file`.
inline constexpr std::uint64_t kMaxTextBytes = std::uint64_t{1} << 30U;

/// What the commands that run a model take for one.
inline constexpr const char* kModelHelp =
    "Folder with config.json, tokenizer.json and safetensors, or of a training run; or a .gguf file";

/// For whole numbers from `least` on; CLI11's own checks of signs name a limit of 300 digits.
inline CLI::Range at_least(std::int64_t least) {
  return {least, std::numeric_limits<std::int64_t>::max()};
}

/// Adds `--threads` as every command that computes has it: 1 to 1024, by default (0 here) all of the machine.
void add_threads_option(CLI::App& command, std::size_t& threads);

/// f16 takes as much memory and time as bf16 and rounds eight times finer; latents are normalised, so that
/// its range is wide enough.
inline constexpr LatentType kDefaultCacheType = LatentType::f16;

/// Adds `--expert-memory`, as every command that runs a model has it.
void add_expert_memory_option(CLI::App& command, ExpertMemory& memory);

/// Adds `--huge-pages`, as every command that runs a model has it.
void add_huge_pages_option(CLI::App& command, bool& huge_pages);

/// Adds `--cache-type`; what `type` is now is its default.
void add_cache_type_option(CLI::App& command, LatentType& type);

/// Adds `--numa`; what `choice` is now is its default.
void add_numa_option(CLI::App& command, NumaChoice& choice);

/// Whether weights are to be copied where they lie: not where they are placed on nodes.
inline bool uses_huge_pages(bool huge_pages, const NumaChoice& choice) {
  return huge_pages && choice.policy == NumaPolicy::off;
}

/// The threads that `--threads` and `--numa` ask for, with the model's weights where they belong; says on
/// standard error in a line what lies where. @param cache_bytes  that caches will take
std::unique_ptr<ThreadPool> place_text_model(const NumaChoice& choice, std::size_t threads, TextModel& model,
                                             std::uint64_t cache_bytes, const ExpertCounts* usage = nullptr);

/// Adds `--lora`, as every command that runs a model has it.
void add_lora_option(CLI::App& command, std::vector<std::string>& adapters);

/// Adds `--speculate`, `--draft-model` and `--draft-tokens`, as every command that generates has them.
void add_speculation_options(CLI::App& command, std::string& speculate, std::string& draft_model,
                             std::int64_t& draft_tokens);

}  // namespace fathom::cli
