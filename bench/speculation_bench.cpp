// What speculation gains on a trained model, against the bound that acceptance, the experts touched and the
// module's own cost allow; and what it loses where drafts are of no use.
//
// usage: speculation_bench [MODEL DATA] [PARTS]
// MODEL is a run of `fathom train` with an MTP module, DATA what `fathom prepare` made for it; by default
// those of tools/reproduce/speculation.sh. PARTS has the letters of what to measure, all by default: p
// passes, g greedy answers, s sampled ones, h and t those to hostile prompts, greedy and at temperature 1.5.
// Prompts are held-out text. All ways to answer take turns, and of each answer the least time of several
// rounds counts.
// The bound is that of infer/speculation_bound.h.

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "infer/drafter_choice.h"
#include "infer/generator.h"
#include "infer/machine_limits.h"
#include "infer/speculation.h"
#include "infer/speculation_bound.h"
#include "infer/speculation_report.h"
#include "infer/text_model.h"
#include "kernels/simd_limit.h"
#include "model/latent_cache.h"
#include "train/data_manifest.h"
#include "train/token_dataset.h"

namespace {

using namespace fathom;

constexpr std::int64_t kPromptTokens = 96;
constexpr std::int64_t kAnswerTokens = 160;
constexpr std::int64_t kPrompts = 4;
constexpr int kRounds = 2;               // of answers to held-out text
constexpr int kHostileRounds = 5;        // whose ratios are of single answers
constexpr std::int64_t kMostDrafts = 5;  // that acceptance is measured for

using Tokens = std::vector<std::int32_t>;

struct Way {
  std::string name;
  DrafterKind kind;
  SpeculationOptions how;
};

struct Measured {
  double seconds = 0;  // of all answers, least of the rounds
  std::int64_t tokens = 0;
  SpeculationStats stats;
  std::vector<Tokens> answers;
};

class Bench {
 public:
  explicit Bench(const std::filesystem::path& folder)
      : pool_(0),
        model_(load_text_model(folder)),
        transformer_(model_.config, model_.weights, model_.config.max_position_embeddings) {
    require(transformer_.mtp_modules() > 0, "{}: has no MTP module", folder.string());
  }

  [[nodiscard]] const ModelConfig& config() const { return model_.config; }
  [[nodiscard]] const Tokenizer& tokenizer() const { return model_.tokenizer; }
  [[nodiscard]] ThreadPool& pool() { return pool_; }

  /// Answers to all prompts in each way, in turns; of each prompt and way the least time.
  std::vector<std::vector<Measured>> answer(const std::vector<Tokens>& prompts,
                                            const SamplingOptions& sampling, const std::vector<Way>& ways,
                                            int rounds) {
    std::vector<std::vector<Measured>> measured(prompts.size(), std::vector<Measured>(ways.size()));
    for (int round = 0; round < rounds; ++round)
      for (std::size_t p = 0; p < prompts.size(); ++p)
        for (std::size_t turn = 0; turn < ways.size(); ++turn) {
          const std::size_t w = round % 2 == 0 ? turn : ways.size() - 1 - turn;
          const ChosenDrafter drafter({ways[w].kind, ""}, model_, transformer_,
                                      kPromptTokens + kAnswerTokens);
          std::unique_ptr<Speculation> speculation;
          if (drafter.get() != nullptr)
            speculation = std::make_unique<Speculation>(model_.config, *drafter.get(), ways[w].how);
          const Generator generator(context_, transformer_, model_.tokenizer, {}, speculation.get());
          GenerationOptions options;
          options.sampling = sampling;
          options.sampling.seed = p;
          options.max_tokens = kAnswerTokens;
          const Answer answer = generator.generate(prompts[p], options);
          Measured& here = measured[p][w];
          if (round == 0 || answer.stats.decode_seconds < here.seconds)
            here.seconds = answer.stats.decode_seconds;
          if (round > 0) continue;
          here.tokens = answer.stats.decode_steps;
          here.stats = answer.stats.speculation;
          here.answers.push_back(answer.tokens);
        }
    return measured;
  }

  /// What passes over up to so many consecutive tokens of a text read.
  StepReads step_reads(const Tokens& text, std::int64_t most) {
    return measure_step_reads(context_, transformer_, model_.weights, {&text, 1}, 1, most);
  }
  [[nodiscard]] DraftReads draft_reads() const { return mtp_draft_reads(model_.weights); }

  /// Seconds of a pass over so many tokens behind a text, head and all: [most + 1].
  std::vector<double> pass_seconds(const Tokens& text, std::int64_t most) {
    LatentCache cache(model_.config, static_cast<std::int64_t>(text.size()) + most);
    transformer_.forward_cached(context_, text, cache);
    std::vector<std::function<void()>> parts;
    for (std::int64_t n = 1; n <= most; ++n)
      parts.push_back([this, n, &text, &cache] {
        cache.truncate(static_cast<std::int64_t>(text.size()));
        const Tensor hidden =
            transformer_.forward_cached(context_, std::span(text).first(static_cast<std::size_t>(n)), cache);
        (void)transformer_.head(context_, hidden);
      });
    std::vector<double> seconds = least_seconds(parts, 60);
    seconds.insert(seconds.begin(), 0.0);
    return seconds;
  }

  /// Seconds of a draft by the first module: over one row of a text, and the head.
  double draft_seconds(const Tokens& text) {
    LatentCache cache(model_.config, static_cast<std::int64_t>(text.size()));
    const Tensor hidden = transformer_.forward_cached(context_, text, cache);
    LatentCache of_module = transformer_.make_mtp_cache(static_cast<std::int64_t>(text.size()) + 1);
    LatentCache* const caches[] = {&of_module};
    const auto rows = [&](std::int64_t count) {
      const Sequences one = Sequences::uniform(1, count);
      return transformer_.mtp_forward_cached(context_, 0,
                                             std::span(text).first(static_cast<std::size_t>(count)),
                                             hidden.rows(0, count), {one, caches});
    };
    (void)rows(hidden.dim(0));
    const std::vector<std::function<void()>> parts = {[&] {
      of_module.truncate(hidden.dim(0));
      (void)transformer_.head(context_, rows(1));
    }};
    return least_seconds(parts, 60).front();
  }

 private:
  ThreadPool pool_;
  Context context_{pool_};
  TextModel model_;
  Transformer transformer_;
};

std::vector<double> chain_of(const SpeculationStats& stats) {
  std::vector<double> chain;
  double all = 1;
  for (const SpeculationStats::Place& place : stats.places) {
    all *=
        static_cast<double>(place.accepted) / static_cast<double>(std::max<std::int64_t>(1, place.offered));
    chain.push_back(all);
  }
  return chain;
}

Measured sum_of(const std::vector<std::vector<Measured>>& by_prompt, std::size_t way) {
  Measured sum;
  for (const std::vector<Measured>& prompt : by_prompt) {
    sum.seconds += prompt[way].seconds;
    sum.tokens += prompt[way].tokens;
    sum.stats.add(prompt[way].stats);
  }
  return sum;
}

void print_held_out(Bench& bench, const std::vector<Tokens>& prompts, const StepReads& steps,
                    double temperature) {
  const std::vector<Way> ways = {
      {"off", DrafterKind::off, {}},
      {"mtp", DrafterKind::mtp, {}},
      {"mtp, always 1", DrafterKind::mtp, {1, false}},

      {fmt::format("mtp, always {}", kMostDrafts), DrafterKind::mtp, {kMostDrafts, false}},
      {"ngram", DrafterKind::ngram, {}}};
  SamplingOptions sampling;
  sampling.temperature = temperature;
  if (temperature > 0) sampling.top_p = 0.95;
  const std::vector<std::vector<Measured>> measured = bench.answer(prompts, sampling, ways, kRounds);
  const Measured plain = sum_of(measured, 0);
  const SpeculationBound bound =
      speculation_bound(chain_of(sum_of(measured, 3).stats), steps, bench.draft_reads());
  fmt::print("\nheld-out text, {} prompts of {} tokens, answers of {}, temperature {}\n", prompts.size(),
             kPromptTokens, kAnswerTokens, temperature);
  fmt::print("  {:<16} {:>9} {:>9} {:>8} {:>12}  {}\n", "drafts", "tokens/s", "speed-up", "least",
             "tokens/pass", "accepted by place, %");
  for (std::size_t w = 0; w < ways.size(); ++w) {
    const Measured sum = sum_of(measured, w);
    double least = 1e9;
    bool is_same = true;
    for (const std::vector<Measured>& prompt : measured) {
      least = std::min(least, prompt[0].seconds / prompt[w].seconds);
      is_same = is_same && prompt[w].answers == prompt[0].answers;
    }
    fmt::print("  {:<16} {:>9.1f} {:>9.3f} {:>8.3f} {:>12.2f}  {}{}\n", ways[w].name,
               static_cast<double>(sum.tokens) / sum.seconds, plain.seconds / sum.seconds, least,
               w == 0 ? 1.0 : sum.stats.tokens_per_pass(), accepted_by_place(sum.stats),
               is_same ? "" : "  ANSWERS DIFFER");
  }
  const double speedup = plain.seconds / sum_of(measured, 1).seconds;
  fmt::print("  bound {:.3f} with {} drafts; mtp reaches {:.1f} % of it  (target: 90 %)\n", bound.speedup,
             bound.drafts, 100 * speedup / bound.speedup);
}

/// Prompts that no drafter does well on.
std::vector<std::pair<std::string, Tokens>> hostile_prompts(const Bench& bench) {
  std::vector<std::pair<std::string, Tokens>> prompts;
  const auto vocabulary = static_cast<std::uint64_t>(bench.config().vocab_size);
  Rng rng(3);
  Tokens random;
  Tokens misleading;  // the same few pairs, each time followed by something else
  while (random.size() < static_cast<std::size_t>(kPromptTokens)) {
    random.push_back(static_cast<std::int32_t>(rng.below(vocabulary)));
    misleading.push_back(static_cast<std::int32_t>(misleading.size() % 3 == 2 ? rng.below(vocabulary)
                                                                              : 300 + misleading.size() % 3));
  }
  prompts.emplace_back("random tokens", random);
  prompts.emplace_back("misleading pairs", misleading);
  prompts.emplace_back("one token", Tokens{300});
  prompts.emplace_back(
      "another language",
      bench.tokenizer().encode("int main(void) { for (int i = 0; i < 10; ++i) printf(\"%d\\n\", "
                               "i * i); } // Zwölf Boxkämpfer jagen Viktor"));
  return prompts;
}

void print_hostile(Bench& bench, double temperature) {
  const std::vector<Way> ways = {
      {"off", DrafterKind::off, {}}, {"mtp", DrafterKind::mtp, {}}, {"ngram", DrafterKind::ngram, {}}};
  fmt::print("\nhostile prompts: speed-up  (target: 0.97 at least)\n  {:<30} {:>8} {:>8}\n", "", "mtp",
             "ngram");
  const std::vector<std::pair<std::string, Tokens>> hostile = hostile_prompts(bench);
  std::vector<Tokens> prompts;
  for (const auto& [name, prompt] : hostile) prompts.push_back(prompt);
  SamplingOptions sampling;
  sampling.temperature = temperature;
  const std::vector<std::vector<Measured>> measured = bench.answer(prompts, sampling, ways, kHostileRounds);
  for (std::size_t p = 0; p < prompts.size(); ++p)
    fmt::print(
        "  {:<30} {:>8.3f} {:>8.3f}\n", fmt::format("{}, temperature {}", hostile[p].first, temperature),
        measured[p][0].seconds / measured[p][1].seconds, measured[p][0].seconds / measured[p][2].seconds);
}

void print_passes(Bench& bench, const Tokens& text, const StepReads& steps) {
  const std::vector<double> seconds = bench.pass_seconds(text, kMostDrafts + 1);
  const double one = steps.weight_bytes.front();
  fmt::print("{} threads\n  {:<28}", bench.pool().threads(), "tokens of a pass");
  for (std::int64_t n = 1; n <= kMostDrafts + 1; ++n) fmt::print("{:>8}", n);
  fmt::print("\n  {:<28}", "experts touched in a layer");
  for (const double experts : steps.experts) fmt::print("{:>8.2f}", experts);
  fmt::print("\n  {:<28}", "weights read, to one token's");
  for (const double bytes : steps.weight_bytes) fmt::print("{:>8.2f}", bytes / one);
  fmt::print("\n  {:<28}", "time, to one token's");
  for (std::int64_t n = 1; n <= kMostDrafts + 1; ++n)
    fmt::print("{:>8.2f}", seconds[static_cast<std::size_t>(n)] / seconds[1]);
  const DraftReads drafts = bench.draft_reads();
  fmt::print("\n  {:<28}{:>8.2f}", "time of a draft", bench.draft_seconds(text) / seconds[1]);
  fmt::print("\n  {:<28}{:>8.2f}\n", "a draft reads",
             (drafts.shared + drafts.expert * steps.experts.front()) / one);
}

void run(const std::filesystem::path& folder, const std::filesystem::path& data_folder,
         const std::string& parts) {
  const auto wanted = [&](char part) { return parts.find(part) != std::string::npos; };
  Bench bench(folder);
  const DataManifest manifest = load_data_manifest(data_folder);
  const TokenDataset data(data_folder, manifest, "held_out", bench.pool());
  const std::int64_t stride = data.tokens() / kPrompts;
  require(stride > kPromptTokens + kAnswerTokens, "{}: too little held-out text", data_folder.string());
  std::vector<Tokens> prompts;
  for (std::int64_t p = 0; p < kPrompts; ++p) {
    prompts.emplace_back(static_cast<std::size_t>(kPromptTokens));
    data.read(p * stride, prompts.back());
  }
  Tokens text(512);
  data.read(0, text);

  const StepReads steps = bench.step_reads(text, kMostDrafts + 1);
  if (wanted('p')) print_passes(bench, text, steps);
  if (wanted('g')) print_held_out(bench, prompts, steps, 0.0);
  if (wanted('s')) print_held_out(bench, prompts, steps, 0.8);
  if (wanted('h')) print_hostile(bench, 0.0);
  if (wanted('t')) print_hostile(bench, 1.5);
}

}  // namespace

int main(int argc, char** argv) {
  fathom::kernels::limit_simd_by_environment();
  (void)std::setvbuf(stdout, nullptr, _IOLBF, 0);  // it takes a while
  const std::filesystem::path made = std::filesystem::path(FATHOM_SOURCE_DIR) / "reproduce-run/speculation";
  const std::filesystem::path model = argc > 1 ? argv[1] : made / "model";
  const std::filesystem::path data = argc > 2 ? argv[2] : made / "data";
  if (argc <= 2 && !(exists(model) && exists(data))) {
    fmt::print("needs a trained model and its data: run tools/reproduce/speculation.sh, or name them\n");
    return 0;
  }
  try {
    run(model, data, argc > 3 ? argv[3] : "pgsht");
  } catch (const fathom::Error& error) {
    fmt::print(stderr, "speculation_bench: {}\n", error.what());
    return 1;
  }
}
