// `fathom score`: how probable a model finds a text.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/token_list.h"
#include "infer/expert_report.h"
#include "infer/score.h"
#include "infer/text_model.h"

namespace fathom::cli {
namespace {

struct ScoreOptions {
  std::string model;
  std::vector<std::string> lora;
  std::optional<std::string> tokens;
  std::optional<std::string> text;
  std::optional<std::string> file;
  LatentType cache_type = LatentType::f32;  // what is measured is the model
  ExpertMemory expert_memory;
  bool huge_pages = true;
  NumaChoice numa;
  std::size_t threads = 0;
  bool json = false;
  bool no_special = false;
};

std::vector<std::int32_t> tokens_to_score(const ScoreOptions& options, const TextModel& model) {
  if (options.tokens) return parse_token_list(*options.tokens, "--tokens");
  const std::string text = options.text ? *options.text : read_text_file(*options.file, kMaxTextBytes);
  require(!text.empty(), "the text is empty: there is nothing to score");
  return model.tokenizer.encode(text, !options.no_special);
}

std::string json_text(std::span<const std::int32_t> tokens, const Score& score, const ExpertCache* experts) {
  auto log_probabilities = nlohmann::ordered_json::array({nullptr});  // nothing comes before the first token
  for (const double value : score.log_probabilities) log_probabilities.push_back(value);
  nlohmann::ordered_json json = {
      {"tokens", tokens}, {"logprobs", std::move(log_probabilities)}, {"perplexity", score.perplexity()}};
  if (experts != nullptr) json["experts"] = expert_report_json(experts->stats());
  return json.dump() + "\n";
}

/// A token's text on one line: control characters and broken UTF-8 escaped.
std::string printable(const Tokenizer& tokenizer, std::int32_t token) {
  if (token >= tokenizer.vocab_size()) return "(no text)";
  return nlohmann::json(std::string(tokenizer.token_bytes(token)))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string table_text(std::span<const std::int32_t> tokens, const Score& score, const Tokenizer& tokenizer) {
  std::string table = fmt::format("{:>8}  {:>10}  text\n", "token", "ln p");
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string log_probability = i == 0 ? "" : fmt::format("{:.4f}", score.log_probabilities[i - 1]);
    table += fmt::format("{:>8}  {:>10}  {}\n", tokens[i], log_probability, printable(tokenizer, tokens[i]));
  }
  if (tokens.size() > 1)
    table += fmt::format("{} tokens, perplexity {:.6g}\n", tokens.size(), score.perplexity());
  return table;
}

void run_score(const ScoreOptions& options) {
  const int given =
      int{options.tokens.has_value()} + int{options.text.has_value()} + int{options.file.has_value()};
  if (given != 1) throw UsageError("give one of --tokens, --text and --file");

  TextModel model = load_text_model(options.model, options.expert_memory, options.lora,
                                    uses_huge_pages(options.huge_pages, options.numa));
  const std::vector<std::int32_t> tokens = tokens_to_score(options, model);
  const auto count = static_cast<std::int64_t>(tokens.size());
  require(count > 0, "no tokens to score");
  require(count <= model.config.max_position_embeddings,
          "the text is {} tokens long and the model's context holds {}: shorten it", count,
          model.config.max_position_embeddings);
  const LatentPageLayout pages(model.config, options.cache_type, kPagePositions);
  const std::unique_ptr<ThreadPool> pool =
      place_text_model(options.numa, options.threads, model,
                       static_cast<std::uint64_t>(pages.pages(count) * pages.page_bytes()));
  const Context context{*pool};
  const Transformer transformer(model.config, model.weights, count);
  Score score;
  blame_non_finite_weights(
      model, [&] { score = score_tokens(context, transformer, tokens, {}, options.cache_type); });

  const std::string text = options.json ? json_text(tokens, score, model.expert_cache.get())
                                        : table_text(tokens, score, model.tokenizer);
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  require(written, "cannot write the scores: {}", errno_text(errno));
  if (model.expert_cache != nullptr && !options.json)
    fmt::print(stderr, "[{}]\n", expert_report_text(model.expert_cache->stats()));
}

}  // namespace

void add_score(CLI::App& app) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* command =
      app.add_subcommand("score", "Log-probability of each token of a text, and its perplexity");
  command->add_option("model", options->model, kModelHelp)->required();
  command->add_option("--tokens", options->tokens, "Token ids, as 1,2,3");
  command->add_option("--text", options->text, "The text");
  command->add_option("--file", options->file, "A file with the text");
  add_cache_type_option(*command, options->cache_type);
  add_expert_memory_option(*command, options->expert_memory);
  add_huge_pages_option(*command, options->huge_pages);
  add_lora_option(*command, options->lora);
  add_threads_option(*command, options->threads);
  add_numa_option(*command, options->numa);
  command->add_flag("--json", options->json,
                    "Print {\"tokens\": [...], \"logprobs\": [null, ...], \"perplexity\": x}");
  command->add_flag("--no-special", options->no_special,
                    "Do not put special tokens such as BOS before the text");
  command->callback([options] { run_score(*options); });
}

}  // namespace fathom::cli
