// `fathom run`: continue a text.

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/grammar_options.h"
#include "cli/interrupt.h"
#include "infer/conversation.h"
#include "infer/drafter_choice.h"
#include "infer/expert_report.h"
#include "infer/generator.h"
#include "infer/speculation.h"
#include "infer/speculation_report.h"
#include "infer/text_model.h"
#include "model/fingerprint.h"

namespace fathom::cli {
namespace {

struct RunOptions {
  std::string model;
  std::vector<std::string> lora;
  std::optional<std::string> prompt;
  std::optional<std::string> file;
  GenerationOptions generation;
  GrammarOptions grammar;
  std::string speculate = "auto";
  std::string draft_model;
  SpeculationOptions speculation;
  std::optional<std::uint64_t> seed;
  LatentType cache_type = kDefaultCacheType;
  ExpertMemory expert_memory;
  bool huge_pages = true;
  std::string save_session;
  std::string load_session;
  NumaChoice numa;
  std::size_t threads = 0;
  bool json = false;
  bool echo = false;
  bool no_special = false;
};

std::string read_prompt(const RunOptions& options) {
  if (options.prompt && options.file) throw UsageError("give PROMPT or --file, not both");
  if (options.prompt) return *options.prompt;
  std::string text;
  if (options.file) {
    text = read_text_file(*options.file, kMaxTextBytes);
  } else {
    if (options.grammar.reads_standard_input())
      throw UsageError("the standard input holds the schema: give PROMPT or --file FILE");
    if (isatty(STDIN_FILENO) == 1)
      throw UsageError("no prompt: give PROMPT, --file FILE, or text on the standard input");
    text.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  if (text.ends_with('\n')) text.pop_back();  // the end of the last line is the file's, not the text's
  return text;
}

/// Writes to stdout at once: the reader watches.
void show(std::string_view text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  require(written, "cannot write the answer: {}", errno_text(errno));
}

std::string json_text(const Answer& answer, std::span<const std::int32_t> prompt, std::uint64_t seed,
                      const ExpertCache* experts) {
  const GenerationStats& stats = answer.stats;
  nlohmann::ordered_json json = {
      {"text", answer.text},
      {"prompt_tokens", prompt},
      {"tokens", answer.tokens},
      {"stop_reason", stop_reason_name(answer.reason)},
      {"seed", seed},
      {"prompt_tokens_per_second", stats.prompt_tokens_per_second()},
      {"decode_tokens_per_second", stats.decode_tokens_per_second()},
  };
  if (stats.speculation.passes > 0) json["speculation"] = speculation_report_json(stats.speculation);
  if (experts != nullptr) json["experts"] = expert_report_json(experts->stats());
  return json.dump() + "\n";
}

void print_statistics(const Answer& answer, std::uint64_t seed, const ExpertCache* experts) {
  const GenerationStats& stats = answer.stats;
  std::string reason(stop_reason_name(answer.reason));
  std::ranges::replace(reason, '_', ' ');
  fmt::print(stderr, "[prompt {} tokens, {:.1f} tokens/s; answer {} tokens, {:.1f} tokens/s; {}; seed {}]\n",
             stats.prompt_tokens, stats.prompt_tokens_per_second(), stats.answer_tokens,
             stats.decode_tokens_per_second(), reason, seed);
  if (stats.speculation.passes > 0) fmt::print(stderr, "[{}]\n", speculation_report_text(stats.speculation));
  if (experts != nullptr) fmt::print(stderr, "[{}]\n", expert_report_text(experts->stats()));
}

/// The conversation that a run goes on from and leaves behind, where files for that are named.
class Session {
 public:
  Session(const RunOptions& options, const TextModel& model) : save_to_(options.save_session) {
    if (options.save_session.empty() && options.load_session.empty()) return;
    fingerprint_ = model_fingerprint(model.config, model.weights);
    conversation_ =
        Conversation{LatentCache(model.config, model.config.max_position_embeddings, options.cache_type), {}};
    if (!options.load_session.empty()) load_conversation(options.load_session, fingerprint_, *conversation_);
  }

  [[nodiscard]] std::vector<std::int32_t> tokens() const {
    return conversation_ ? conversation_->tokens : std::vector<std::int32_t>();
  }
  [[nodiscard]] Conversation* conversation() { return conversation_ ? &*conversation_ : nullptr; }
  void save() const {
    if (!save_to_.empty()) save_conversation(save_to_, fingerprint_, *conversation_);
  }

 private:
  std::string save_to_;
  std::uint64_t fingerprint_ = 0;
  std::optional<Conversation> conversation_;
};

void run(const RunOptions& options) {
  GenerationOptions generation = options.generation;
  generation.sampling.seed = options.seed.value_or(std::random_device{}());
  validate_sampling_options(generation.sampling);
  validate_speculation_options(options.speculation);
  const DrafterChoice choice{drafter_kind_of(options.speculate), options.draft_model};
  const std::string text = read_prompt(options);
  generation.grammar = read_grammar_request(options.grammar);
  if (generation.ignore_eos && generation.grammar.kind != GrammarRequest::Kind::kNone)
    throw UsageError("an answer with a grammar ends where the grammar does: leave --ignore-eos out");
  require(!text.empty(), "the prompt is empty: give some text to continue");

  TextModel model = load_text_model(options.model, options.expert_memory, options.lora,
                                    uses_huge_pages(options.huge_pages, options.numa));
  Session session(options, model);
  std::vector<std::int32_t> prompt = session.tokens();
  const std::vector<std::int32_t> added = model.tokenizer.encode(text, !options.no_special && prompt.empty());
  prompt.insert(prompt.end(), added.begin(), added.end());
  require(!prompt.empty(), "the prompt has no tokens: give some text to continue");

  // Rotary tables are made for as many positions as can be reached.
  std::int64_t positions = model.config.max_position_embeddings;
  if (generation.max_tokens > 0)
    positions = std::min(positions, static_cast<std::int64_t>(prompt.size()) + generation.max_tokens);
  const LatentPageLayout pages(model.config, options.cache_type, kPagePositions);
  const std::unique_ptr<ThreadPool> pool =
      place_text_model(options.numa, options.threads, model,
                       static_cast<std::uint64_t>(pages.pages(positions) * pages.page_bytes()));
  const Context context{*pool};
  const Transformer transformer(model.config, model.weights, positions);
  const ChosenDrafter drafter(choice, model, transformer, positions);
  std::optional<Speculation> speculation;
  if (drafter.get() != nullptr) speculation.emplace(model.config, *drafter.get(), options.speculation);
  const Generator generator(context, transformer, model.tokenizer, model.end_of_text(),
                            speculation ? &*speculation : nullptr, options.cache_type);

  const InterruptFlag interrupt;
  if (options.echo && !options.json) show(text);
  Answer answer;
  blame_non_finite_weights(model, [&] {
    const Generator::OnText on_text = options.json ? Generator::OnText{} : show;
    answer = generator.generate(prompt, generation, on_text, &interrupt.raised(), session.conversation());
  });
  session.save();
  show(options.json ? json_text(answer, prompt, generation.sampling.seed, model.expert_cache.get()) : "\n");
  if (!options.json) print_statistics(answer, generation.sampling.seed, model.expert_cache.get());
  if (answer.reason == StopReason::cancelled) throw ExitStatus{kExitInterrupted};
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  GenerationOptions& generation = options->generation;
  generation.max_tokens = 256;
  generation.sampling.temperature = 0.8;
  generation.sampling.top_p = 0.95;

  CLI::App* command = app.add_subcommand("run", "Continue a text");
  command->add_option("model", options->model, kModelHelp)->required();
  command->add_option("prompt", options->prompt, "The text to continue (default: standard input)");
  command->add_option("--file", options->file, "A file with the text to continue");
  command
      ->add_option("-n,--max-tokens", generation.max_tokens,
                   "Tokens to generate at most; 0: to the end of the "
                   "context")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--temperature", generation.sampling.temperature, "0: always the most probable token")
      ->capture_default_str();
  command->add_option("--top-k", generation.sampling.top_k, "Only the K most probable tokens; 0: off")
      ->capture_default_str();
  command
      ->add_option("--top-p", generation.sampling.top_p,
                   "Only the fewest tokens that reach this probability; 1: off")
      ->capture_default_str();
  command
      ->add_option("--min-p", generation.sampling.min_p,
                   "Only tokens at least this times as probable as the best; 0: off")
      ->capture_default_str();
  command
      ->add_option("--repetition-penalty", generation.sampling.repetition_penalty,
                   "Make tokens that have occurred less probable; 1: off")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Same seed, same answer (default: a new one each time)");
  command->add_option("--stop", generation.stop, "Text that ends the answer; may be given several times")
      ->allow_extra_args(false);
  add_speculation_options(*command, options->speculate, options->draft_model,
                          options->speculation.most_drafts);
  add_cache_type_option(*command, options->cache_type);
  add_expert_memory_option(*command, options->expert_memory);
  add_huge_pages_option(*command, options->huge_pages);
  command->add_option("--save-session", options->save_session,
                      "File to keep the conversation in, with what the model has read of it");
  command->add_option("--load-session", options->load_session, "Such a file: the prompt goes on from there");
  add_grammar_options(*command, options->grammar);
  add_lora_option(*command, options->lora);
  add_threads_option(*command, options->threads);
  add_numa_option(*command, options->numa);
  command->add_flag("--json", options->json, "Print one JSON object at the end instead of streaming text");
  command->add_flag("--echo", options->echo, "Print the prompt before the answer");
  command->add_flag("--no-special", options->no_special,
                    "Do not put special tokens such as BOS before the prompt");
  command->add_flag("--ignore-eos", generation.ignore_eos, "Go on when the model ends its text");
  command->callback([options] { run(*options); });
}

}  // namespace fathom::cli
