// `fathom needle-corpus`: made-up documents from which a small model learns to find facts.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/rng.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "train/retrieval_text.h"

namespace fathom::cli {
namespace {

struct NeedleCorpus {
  std::string output;
  std::int64_t documents = 10000;
  std::int64_t sentences = 12;
  double filler = 0.2;
  std::uint64_t seed = 1;
};

void write_corpus(const NeedleCorpus& options) {
  constexpr std::int64_t kMostSentences = 10'000'000;  // some 500 MB, in memory
  if (options.documents > kMostSentences / options.sentences)
    throw UsageError(fmt::format("{} documents of {} sentences are too many: at most {} sentences in all",
                                 options.documents, options.sentences, kMostSentences));
  std::string text;
  for (std::int64_t i = 0; i < options.documents; ++i) {
    Rng rng(options.seed, static_cast<std::uint64_t>(i));
    text +=
        nlohmann::json{{"text", retrieval_document(rng, options.sentences, options.filler)}}.dump() + "\n";
  }
  write_file_atomically(options.output, text);
  log_info("{}: {} documents, {}", options.output,
           format_count(static_cast<std::uint64_t>(options.documents)), format_bytes(text.size()));
}

}  // namespace

void add_needle_corpus(CLI::App& app) {
  auto options = std::make_shared<NeedleCorpus>();
  CLI::App* command =
      app.add_subcommand("needle-corpus", "Make documents from which a small model learns to find facts");
  command->add_option("output", options->output, "The .jsonl file to write, for `fathom prepare`")
      ->required();
  command->add_option("--documents", options->documents, "How many")
      ->check(at_least(1))
      ->capture_default_str();
  command->add_option("--sentences", options->sentences, "Sentences of each, about 10 tokens a sentence")
      ->check(CLI::Range(2, 1'000'000))
      ->capture_default_str();
  command->add_option("--filler", options->filler, "Part of the sentences that states and asks nothing")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Same seed, same documents")
      ->check(at_least(0))
      ->capture_default_str();
  command->callback([options] { write_corpus(*options); });
}

}  // namespace fathom::cli
