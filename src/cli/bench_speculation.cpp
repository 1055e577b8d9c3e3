#include "cli/bench_speculation.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "cli/common_options.h"
#include "infer/answer_builder.h"
#include "infer/drafter_choice.h"
#include "infer/speculation_report.h"
#include "infer/speculation_speed.h"
#include "text/tokenizer_spec.h"

namespace fathom::cli {
namespace {

using Json = nlohmann::ordered_json;

struct NamedPrompt {
  std::string name;
  std::vector<std::int32_t> tokens;
};

/// Pieces of a text, evenly spread, each behind what the tokenizer puts before a text.
void add_pieces(const Tokenizer& tokenizer, const std::string& file, std::int64_t count, std::int64_t length,
                std::vector<NamedPrompt>& prompts) {
  const std::vector<std::int32_t> before = tokenizer.encode("");
  const std::vector<std::int32_t> text = tokenizer.encode(read_text_file(file, kMaxTextBytes), false);
  const std::size_t own = static_cast<std::size_t>(length) - std::min<std::size_t>(before.size(), 1);
  require(text.size() >= own, "{}: {} tokens, and a prompt is to have {}: give a longer text, or --prompt {}",
          file, text.size(), length, std::max<std::size_t>(2, text.size()));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::size_t begin = (text.size() - own) * static_cast<std::size_t>(i) /
                              static_cast<std::size_t>(std::max<std::int64_t>(1, count - 1));
    NamedPrompt prompt{fmt::format("{} {}", std::filesystem::path(file).filename().string(), i + 1), {}};
    if (!before.empty()) prompt.tokens.push_back(before.front());
    const std::span<const std::int32_t> piece = std::span(text).subspan(begin, own);
    prompt.tokens.insert(prompt.tokens.end(), piece.begin(), piece.end());
    prompts.push_back(std::move(prompt));
  }
}

std::vector<NamedPrompt> prompts_of(const SpeculationBenchOptions& options, const Tokenizer& tokenizer,
                                    std::int64_t with_text, std::int64_t length) {
  std::vector<NamedPrompt> prompts;
  for (const std::string& file : options.texts) add_pieces(tokenizer, file, options.prompts, length, prompts);
  if (!prompts.empty()) return prompts;
  Rng rng(11);
  for (std::int64_t i = 0; i < options.prompts; ++i) {
    NamedPrompt prompt{fmt::format("random {}", i + 1), {}};
    for (std::int64_t t = 0; t < length; ++t)
      prompt.tokens.push_back(static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(with_text))));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

/// One row of what is measured.
struct Case {
  std::string name;
  AnsweredBy by;
  std::int64_t at_once;
};

class SpeculationBench {
 public:
  SpeculationBench(const Context& context, const TextModel& model, const SpeculationBenchOptions& options,
                   const SpeculationBenchSetup& setup, std::int64_t positions)
      : model_(model),
        options_(options),
        setup_(setup),
        transformer_(model.config, model.weights, positions),
        kind_(drafter_kind_of(options.speculate.empty() ? "auto" : options.speculate)),
        drafter_({kind_, options.draft_model}, model, transformer_, positions),
        measured_{context,
                  model,
                  transformer_,
                  drafter_or_refuse(),
                  {options.draft_tokens, true},
                  {},
                  options.answer_tokens,
                  setup.rounds,
                  setup.cache_type} {
    measured_.sampling.temperature = options.temperature;
    validate_sampling_options(measured_.sampling);
    validate_speculation_options(measured_.speculation);
  }

  Json measure(std::int64_t prompt_tokens) {
    const std::vector<NamedPrompt> named = prompts_of(
        options_, model_.tokenizer, vocabulary_with_text(transformer_, model_.tokenizer), prompt_tokens);
    std::vector<std::vector<std::int32_t>> prompts;
    prompts.reserve(named.size());
    for (const NamedPrompt& prompt : named) prompts.push_back(prompt.tokens);
    for (const std::int64_t batch : setup_.batches)
      if (static_cast<std::int64_t>(prompts.size()) < batch)
        throw UsageError(fmt::format("--batch {} needs as many prompts, and there are {}: give --prompts {}",
                                     batch, prompts.size(), batch));
    const std::vector<double> chain = chain_of(prompts);
    if (setup_.prints_rows) print_head(prompt_tokens, named.size());
    std::vector<Case> cases = {{"alone", AnsweredBy::generator, 1}};
    for (const std::int64_t batch : setup_.batches)
      cases.push_back({fmt::format("served, {} at once", batch), AnsweredBy::engine, batch});
    Json rows = Json::array();
    std::vector<std::pair<std::string, StepReads>> reads;
    for (const Case& what : cases) {
      const SpeculationSpeed speed = measure_speculation(measured_, prompts, what.at_once, what.by);
      const std::optional<SpeculationBound> bound = bound_for(chain, speed.steps);
      if (setup_.prints_rows) print_row(what, named, speed, bound);
      if (reads.empty() || what.at_once > 1) reads.emplace_back(what.name, speed.steps);
      rows.push_back(json_of(what, named, speed, bound, prompt_tokens));
    }
    if (setup_.prints_rows) print_reads(reads);
    return rows;
  }

  [[nodiscard]] const char* drafter_name() const {
    if (kind_ != DrafterKind::automatic) return options_.speculate.c_str();
    return !options_.draft_model.empty() ? "model" : transformer_.mtp_modules() > 0 ? "mtp" : "ngram";
  }

 private:
  [[nodiscard]] const Drafter& drafter_or_refuse() const {
    if (drafter_.get() == nullptr)
      throw UsageError(
          "--speculate off: drafts are measured beside decoding without them, so name who drafts");
    return *drafter_.get();
  }
  [[nodiscard]] bool drafts_every_step() const { return std::string_view(drafter_name()) != "ngram"; }

  /// Of a drafter that has drafts for every step; of another one they say nothing of a bound.
  [[nodiscard]] std::vector<double> chain_of(const std::vector<std::vector<std::int32_t>>& prompts) const {
    constexpr std::int64_t kFarthest = 5;
    if (!drafts_every_step()) return {};
    return measure_acceptance(measured_, prompts, std::min(options_.draft_tokens, kFarthest));
  }
  [[nodiscard]] std::optional<SpeculationBound> bound_for(const std::vector<double>& chain,
                                                          const StepReads& steps) const {
    if (chain.empty()) return std::nullopt;
    DraftReads drafts;
    if (std::string_view(drafter_name()) == "mtp") {
      drafts = mtp_draft_reads(model_.weights);
    } else {
      // A smaller model: its active weights, were they of the same type.
      drafts.shared = measured_.drafter.cost_of_draft() * steps.weight_bytes.front();
    }
    return speculation_bound(chain, steps, drafts);
  }

  void print_head(std::int64_t prompt_tokens, std::size_t prompts) const {
    fmt::print(
        "drafts by {}, {} at most; answers of {} tokens to {} prompts of {}, {}; medians of {} rounds\n",
        drafter_name(), options_.draft_tokens, options_.answer_tokens, prompts, prompt_tokens,
        options_.temperature > 0 ? fmt::format("temperature {}", options_.temperature) : "greedy",
        setup_.rounds);
    if (setup_.has_made_up_weights)
      fmt::print(
          "  made-up weights: drafts are accepted by chance alone, and speed-ups say what drafting costs\n");
    else if (options_.texts.empty())
      fmt::print("  prompts of random tokens: drafts fare worse than with --text\n");
    fmt::print("  {:<20} {:>9} {:>9} {:>9} {:>7} {:>7}  {}\n  {:<20} {:>9} {:>9} {:>9} {:>7} {:>7}  {}\n", "",
               "tokens/s", "", "", "worst", "tokens", "accepted", "", "without", "with", "speed-up", "prompt",
               "a step", "by place, %");
  }

  static void print_row(const Case& what, const std::vector<NamedPrompt>& named,
                        const SpeculationSpeed& speed, const std::optional<SpeculationBound>& bound) {
    const auto tokens = static_cast<double>(speed.tokens());
    const SpeculationStats stats = speed.stats();
    fmt::print("  {:<20} {:>9.1f} {:>9.1f} {:>9.3f} {:>7.3f} {:>7.2f}  {}", what.name,
               tokens / speed.seconds_without(), tokens / speed.seconds_with(), speed.speedup(),
               speed.worst().speedup(), stats.tokens_per_pass(), accepted_by_place(stats));
    const bool is_same = std::ranges::all_of(speed.turns, &SpeculationTurn::is_same);
    fmt::print("{}\n", is_same ? "" : "  ANSWERS DIFFER");
    if (bound)
      fmt::print("  {:<20} bound {:.3f}, with {} drafts: {:.0f} % of it; worst at {}\n", "", bound->speedup,
                 bound->drafts, 100 * speed.speedup() / bound->speedup, worst_name(what, named, speed));
    else
      fmt::print("  {:<20} worst at {}\n", "", worst_name(what, named, speed));
  }

  static std::string worst_name(const Case& what, const std::vector<NamedPrompt>& named,
                                const SpeculationSpeed& speed) {
    return name_of(what, named, static_cast<std::size_t>(&speed.worst() - speed.turns.data()));
  }
  static std::string name_of(const Case& what, const std::vector<NamedPrompt>& named, std::size_t turn) {
    const auto each = static_cast<std::size_t>(what.at_once);
    const std::string& first = named[turn * each].name;
    return each == 1 ? first : fmt::format("{} to {}", first, named[(turn + 1) * each - 1].name);
  }

  static void print_reads(const std::vector<std::pair<std::string, StepReads>>& reads) {
    fmt::print("  {:<38}", "tokens of each text that a step reads");
    for (std::size_t n = 1; n <= reads.front().second.experts.size(); ++n) fmt::print("{:>7}", n);
    fmt::print("\n");
    for (const auto& [name, steps] : reads) {
      fmt::print("  {:<38}", name + ": experts in a layer");
      for (const double experts : steps.experts) fmt::print("{:>7.2f}", experts);
      fmt::print("\n  {:<38}", name + ": weights, to a plain step's");
      for (const double bytes : steps.weight_bytes)
        fmt::print("{:>7.2f}", bytes / steps.weight_bytes.front());
      fmt::print("\n");
    }
  }

  Json json_of(const Case& what, const std::vector<NamedPrompt>& named, const SpeculationSpeed& speed,
               const std::optional<SpeculationBound>& bound, std::int64_t prompt_tokens) const {
    const auto tokens = static_cast<double>(speed.tokens());
    Json turns = Json::array();
    for (std::size_t t = 0; t < speed.turns.size(); ++t) {
      const SpeculationTurn& turn = speed.turns[t];
      const auto of_turn = static_cast<double>(turn.tokens);
      turns.push_back({{"prompts", name_of(what, named, t)},
                       {"tokens_per_second_without", of_turn / turn.seconds_without()},
                       {"tokens_per_second_with", of_turn / turn.seconds_with()},
                       {"speedup", turn.speedup()},
                       {"rounds_without", turn.rounds_without},
                       {"rounds_with", turn.rounds_with},
                       {"answers_are_the_same", turn.is_same},
                       {"drafts", speculation_report_json(turn.stats)}});
    }
    Json json = {{"answered_by", what.by == AnsweredBy::generator ? "run" : "serve"},
                 {"at_once", what.at_once},
                 {"prompt_tokens", prompt_tokens},
                 {"answer_tokens", options_.answer_tokens},
                 {"tokens_per_second_without", tokens / speed.seconds_without()},
                 {"tokens_per_second_with", tokens / speed.seconds_with()},
                 {"speedup", speed.speedup()},
                 {"worst_speedup", speed.worst().speedup()},
                 {"drafts", speculation_report_json(speed.stats())},
                 {"step_experts_touched", speed.steps.experts},
                 {"step_weight_bytes", speed.steps.weight_bytes}};
    if (bound) {
      json["bound_speedup"] = bound->speedup;
      json["bound_drafts"] = bound->drafts;
      json["share_of_bound"] = speed.speedup() / bound->speedup;
    }
    json["turns"] = std::move(turns);
    return json;
  }

  const TextModel& model_;
  const SpeculationBenchOptions& options_;
  const SpeculationBenchSetup& setup_;
  Transformer transformer_;
  DrafterKind kind_;
  ChosenDrafter drafter_;
  SpeculationSetup measured_;
};

}  // namespace

void add_speculation_bench_options(CLI::App& command, SpeculationBenchOptions& options) {
  command.add_option(
      "--speculate", options.speculate,
      "Measure decoding with drafts and without, in turns, instead: of mtp, ngram or model; auto: "
      "mtp where there is a module, else ngram");
  command.add_option("--draft-model", options.draft_model,
                     "Folder of a smaller model of the same vocabulary that drafts");
  command.add_option("--draft-tokens", options.draft_tokens, "Tokens to draft at a time, at most")
      ->capture_default_str();
  command
      .add_option(
          "--text", options.texts,
          "Text file of whose pieces, of --prompt tokens, the prompts are made; several: of each as many "
          "(default: random tokens)")
      ->option_text("FILE ...")
      ->allow_extra_args(false);
  command.add_option("--prompts", options.prompts, "Prompts of a text, with --speculate")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}))
      ->capture_default_str();
  command.add_option("--answer", options.answer_tokens, "Tokens of an answer, with --speculate")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 20U))
      ->capture_default_str();
  command
      .add_option("--temperature", options.temperature, "With --speculate; 0: always the most probable token")
      ->capture_default_str();
}

nlohmann::ordered_json run_speculation_bench(const Context& context, const TextModel& model,
                                             const SpeculationBenchOptions& options,
                                             const SpeculationBenchSetup& setup) {
  const std::int64_t longest = std::ranges::max(setup.prompt_tokens);
  SpeculationBench bench(context, model, options, setup,
                         longest + options.answer_tokens + options.draft_tokens + 1);
  Json cases = Json::array();
  for (const std::int64_t prompt_tokens : setup.prompt_tokens)
    for (Json& row : bench.measure(prompt_tokens)) cases.push_back(std::move(row));
  return {{"drafter", bench.drafter_name()},
          {"draft_tokens", options.draft_tokens},
          {"temperature", options.temperature},
          {"rounds", setup.rounds},
          {"has_made_up_weights", setup.has_made_up_weights},
          {"cases", std::move(cases)}};
}

Tokenizer numbered_tokens(std::int64_t count) {
  TokenizerSpec spec;
  spec.name = "made-up vocabulary";
  for (std::int64_t id = 0; id < count; ++id) spec.tokens.push_back(std::to_string(id));
  spec.model_tokens = spec.tokens.size();
  return Tokenizer(spec);
}

}  // namespace fathom::cli
