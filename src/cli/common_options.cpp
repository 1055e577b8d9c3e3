#include "cli/common_options.h"

#include <map>
#include <string>
#include <utility>

#include "base/log.h"
#include "infer/numa_report.h"

namespace fathom::cli {

void add_threads_option(CLI::App& command, std::size_t& threads) {
  constexpr int kMostThreads = 1024;
  command.add_option("--threads", threads, "Threads to use (default: all of the machine)")
      ->check(CLI::Range(1, kMostThreads));
}

void add_expert_memory_option(CLI::App& command, ExpertMemory& memory) {
  command
      .add_option_function<std::string>(
          "--expert-memory",
          [&memory](const std::string& text) {
            memory.bytes.reset();
            memory.is_mapped = false;
            if (text == "mapped") {
              memory.is_mapped = true;
              return;
            }
            std::string number = text;
            const std::string error = CLI::AsSizeValue(false)(number);
            if (!error.empty()) throw CLI::ValidationError("--expert-memory", error);
            memory.bytes = std::stoull(number);
          },
          "Memory for the routed experts of a model with an expert pack, as 500M or 8G (default: what is "
          "free, up "
          "to all of them); `mapped`: leave them to the system's page cache")
      ->option_text("BYTES");
}

void add_huge_pages_option(CLI::App& command, bool& huge_pages) {
  const std::map<std::string, bool> choices{{"auto", true}, {"off", false}};
  command
      .add_option(
          "--huge-pages", huge_pages,
          "auto: copy a mapped model's weights into huge pages while it runs already, where memory is "
          "ample, as decoding is faster then; off: leave them in the system's page cache, which other "
          "processes share (default: auto)")
      ->transform(CLI::CheckedTransformer(choices).description(""))
      ->option_text("auto|off");
}

void add_cache_type_option(CLI::App& command, LatentType& type) {
  std::map<std::string, LatentType> types;
  for (const LatentType each : kernels::kLatentTypes) types.emplace(kernels::latent_type_name(each), each);
  command
      .add_option(
          "--cache-type", type,
          "How latent caches are stored: f32, f16, bf16, or in a byte a value f8_e4m3 or q8 (default: " +
              std::string(kernels::latent_type_name(type)) + ")")
      ->transform(CLI::CheckedTransformer(types).description(""))
      ->option_text("TYPE");
}

void add_numa_option(CLI::App& command, NumaChoice& choice) {
  command
      .add_option_function<std::string>(
          "--numa",
          [&choice](const std::string& text) {
            const auto named = numa_choice_of(text);
            if (!named)
              throw CLI::ValidationError("--numa",
                                         "there is no such policy: distribute, mirror, node:N and off are");
            choice = *named;
          },
          "Where several nodes have memory of their own: distribute the weights over them, mirror all of "
          "them "
          "on each, use one (node:N), or leave it to the system (default: " +
              numa_choice_text(choice) + ")")
      ->option_text("POLICY");
}

std::unique_ptr<ThreadPool> place_text_model(const NumaChoice& choice, std::size_t threads, TextModel& model,
                                             std::uint64_t cache_bytes, const ExpertCounts* usage) {
  PlacedModel placed = place_model(choice, threads, model.config, model.weights,
                                   {cache_bytes, model.expert_cache == nullptr, usage});
  if (placed.plan) {
    log_info("{}", numa_plan_line(*placed.plan));
    for (const std::string& warning : placed.plan->warnings) log_warning("{}", warning);
  }
  return std::move(placed.pool);
}

void add_lora_option(CLI::App& command, std::vector<std::string>& adapters) {
  command
      .add_option("--lora", adapters,
                  "Folder of a LoRA adapter, as PEFT saves it, with FOLDER=SCALE added that much more or "
                  "less; several add up")
      ->option_text("FOLDER[=SCALE] ...")
      ->allow_extra_args(false);
}

void add_speculation_options(CLI::App& command, std::string& speculate, std::string& draft_model,
                             std::int64_t& draft_tokens) {
  command
      .add_option("--speculate", speculate,
                  "Who drafts tokens for the model to check, which changes speed and no answer: mtp (the "
                  "model's own module), ngram (what followed the same words before), model, off; auto: mtp "
                  "where there is a module, else ngram")
      ->capture_default_str();
  command.add_option("--draft-model", draft_model,
                     "Folder of a smaller model of the same vocabulary that drafts");
  command
      .add_option("--draft-tokens", draft_tokens,
                  "Tokens to draft at a time, at most; how many adapts to what pays")
      ->capture_default_str();
}

}  // namespace fathom::cli
