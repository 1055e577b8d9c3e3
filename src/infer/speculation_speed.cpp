#include "infer/speculation_speed.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "dist/local_communicator.h"
#include "infer/engine.h"
#include "infer/generator.h"
#include "infer/serving_rank.h"
#include "infer/work_in_turns.h"

namespace fathom {
namespace {

using TokenList = std::vector<std::int32_t>;

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Answers to some prompts that begin together.
struct Decoded {
  std::int64_t tokens = 0;
  SpeculationStats stats;
  std::vector<TokenList> answers;

  void add(Answer answer) {
    tokens += answer.stats.decode_steps;
    stats.add(answer.stats.speculation);
    answers.push_back(std::move(answer.tokens));
  }
};

GenerationOptions generation_of(const SpeculationSetup& setup) {
  GenerationOptions options;
  options.sampling = setup.sampling;
  options.max_tokens = setup.answer_tokens;
  options.ignore_eos = true;
  return options;
}

/// @param how  of drafts; none: without
Decoded generate_alone(const SpeculationSetup& setup, const TokenList& prompt,
                       const std::optional<SpeculationOptions>& how, const Generator::OnText& on_text = {}) {
  std::optional<Speculation> speculation;
  if (how) speculation.emplace(setup.model.config, setup.drafter, *how);
  const Generator generator(setup.context, setup.transformer, setup.model.tokenizer, {},
                            speculation ? &*speculation : nullptr, setup.cache_type);
  Decoded decoded;
  decoded.add(generator.generate(prompt, generation_of(setup), on_text));
  return decoded;
}

/// An engine with nothing else to do.
class IdleEngine {
 public:
  IdleEngine(const SpeculationSetup& setup, std::int64_t at_once, std::int64_t prompt_tokens, bool has_drafts)
      : setup_(setup),
        job_(single_communicator()),
        rank_(setup.context.pool, setup.transformer, setup.model.tokenizer, *job_, layout_, {},
              cache_of(setup, at_once, prompt_tokens)) {
    if (has_drafts)
      rank_.runner().speculate(speculation_.emplace(setup.model.config, setup.drafter, setup.speculation));
    EngineOptions options;
    options.cache = cache_of(setup, at_once, prompt_tokens);
    options.step_tokens = std::max(options.step_tokens, at_once * prompt_tokens);  // all prompts in one step
    options.max_waiting = static_cast<std::size_t>(at_once) + 1;
    engine_ = std::make_unique<Engine>(*job_, layout_, rank_.runner(), setup.transformer,
                                       setup.model.tokenizer, std::vector<std::int64_t>{}, options);
  }

  /// Until one prompt has its answer; the others have what they have by then.
  Decoded answer(std::span<const TokenList> prompts, const Generator::OnText& on_text) {
    std::vector<std::future<Outcome>> outcomes;
    std::vector<Engine::Request> requests;
    auto first = std::make_shared<FirstEnd>();
    {
      const Gate gate(*engine_, prompts.front());
      for (const TokenList& prompt : prompts) {
        auto promise = std::make_shared<std::promise<Outcome>>();
        outcomes.push_back(promise->get_future());
        requests.push_back(
            engine_->submit(prompt, generation_of(setup_), on_text, [promise, first](Outcome outcome) {
              promise->set_value(std::move(outcome));
              first->happens();
            }));
      }
    }
    first->wait();
    for (const Engine::Request& request : requests) engine_->cancel(request);
    Decoded decoded;
    for (std::future<Outcome>& outcome : outcomes) {
      Outcome done = outcome.get();
      require(done.error.empty(), "{}", done.error);
      decoded.add(std::move(done.answer));
    }
    return decoded;
  }

 private:
  class FirstEnd {
   public:
    void happens() {
      if (!has_happened_.test_and_set()) promise_.set_value();
    }
    void wait() { promise_.get_future().wait(); }

   private:
    std::atomic_flag has_happened_;
    std::promise<void> promise_;
  };

  /// Holds the engine's thread in the end of a request while it lives, so that requests begin in one step.
  class Gate {
   public:
    Gate(Engine& engine, const TokenList& prompt) {
      GenerationOptions one;
      one.max_tokens = 1;
      auto stands = std::make_shared<std::promise<void>>();
      engine.submit({prompt.front()}, one, {}, [stands, opens = opens_](const Outcome&) {
        stands->set_value();
        opens.wait();
      });
      stands->get_future().wait();
    }
    ~Gate() { open_.set_value(); }
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

   private:
    std::promise<void> open_;
    std::shared_future<void> opens_{open_.get_future()};
  };

  /// Room for all prompts, answers and drafts. Nothing is shared: each round reads its prompts anew.
  static CacheOptions cache_of(const SpeculationSetup& setup, std::int64_t at_once,
                               std::int64_t prompt_tokens) {
    CacheOptions cache;
    cache.type = setup.cache_type;
    cache.shares_prefixes = false;
    const std::int64_t each =
        cache.pages(prompt_tokens + setup.answer_tokens + setup.speculation.most_drafts + 1);
    cache.positions = (at_once + 1) * each * cache.page_positions;
    return cache;
  }

  const SpeculationSetup& setup_;
  ServingLayout layout_ = serving_layout(1, 0);
  std::unique_ptr<Communicator> job_;
  ServingRank rank_;
  std::optional<Speculation> speculation_;
  std::unique_ptr<Engine> engine_;
};

using Decode = std::function<Decoded(std::span<const TokenList>, const Generator::OnText& on_text)>;

/// Answers, and lets the other way have its turn after every few tokens of each.
Decoded answer_in_turns(const Decode& decode, std::span<const TokenList> prompts, WorkInTurns::Side& side) {
  constexpr std::size_t kPieces = 8;
  bool has_begun = false;
  std::size_t pieces = 0;
  return decode(prompts, [&](std::string_view) {
    if (!std::exchange(has_begun, true)) side.count_from_here();  // prompts have been read
    if (++pieces % (kPieces * prompts.size()) == 0) side.pass_on();
  });
}

bool begin_alike(const TokenList& a, const TokenList& b) {
  const std::size_t both = std::min(a.size(), b.size());
  return std::ranges::equal(std::span(a).first(both), std::span(b).first(both));
}

SpeculationTurn take_turns(const Decode& without, const Decode& with, std::span<const TokenList> prompts,
                           int rounds) {
  SpeculationTurn turn;
  for (int round = 0; round < rounds; ++round) {
    Decoded plain;
    Decoded drafted;
    const std::array<double, 2> seconds =
        WorkInTurns::run({[&](WorkInTurns::Side& side) { plain = answer_in_turns(without, prompts, side); },
                          [&](WorkInTurns::Side& side) { drafted = answer_in_turns(with, prompts, side); }},
                         round % 2);
    turn.rounds_without.push_back(static_cast<double>(plain.tokens) / seconds[0]);
    turn.rounds_with.push_back(static_cast<double>(drafted.tokens) / seconds[1]);
    turn.is_same = turn.is_same && std::ranges::equal(plain.answers, drafted.answers, begin_alike);
    turn.tokens = plain.tokens;
    turn.stats = drafted.stats;
    turn.answers = std::move(plain.answers);
  }
  return turn;
}

/// Mean over some turns.
StepReads reads_of(const SpeculationSetup& setup, std::span<const TokenList> prompts, std::size_t at_once,
                   std::span<const SpeculationTurn> turns) {
  constexpr std::size_t kTurns = 4;
  const std::size_t count = std::min(turns.size(), kTurns);
  StepReads mean;
  for (std::size_t t = 0; t < count; ++t) {
    std::vector<TokenList> texts;
    for (std::size_t i = 0; i < at_once; ++i) {
      texts.push_back(prompts[t * at_once + i]);
      texts.back().insert(texts.back().end(), turns[t].answers[i].begin(), turns[t].answers[i].end());
    }
    const StepReads one = measure_step_reads(setup.context, setup.transformer, setup.model.weights, texts,
                                             static_cast<std::int64_t>(prompts.front().size()),
                                             setup.speculation.most_drafts + 1);
    mean.experts.resize(one.experts.size());
    mean.weight_bytes.resize(one.weight_bytes.size());
    for (std::size_t n = 0; n < one.experts.size(); ++n) {
      mean.experts[n] += one.experts[n] / static_cast<double>(count);
      mean.weight_bytes[n] += one.weight_bytes[n] / static_cast<double>(count);
    }
  }
  return mean;
}

}  // namespace

double SpeculationTurn::seconds_without() const {
  return static_cast<double>(tokens) / median_of(rounds_without);
}

double SpeculationTurn::seconds_with() const {
  return static_cast<double>(tokens) / median_of(rounds_with);
}

double SpeculationTurn::speedup() const {
  std::vector<double> speedups;
  for (std::size_t i = 0; i < rounds_with.size(); ++i) speedups.push_back(rounds_with[i] / rounds_without[i]);
  return median_of(std::move(speedups));
}

std::int64_t SpeculationSpeed::tokens() const {
  std::int64_t sum = 0;
  for (const SpeculationTurn& turn : turns) sum += turn.tokens;
  return sum;
}

double SpeculationSpeed::seconds_without() const {
  double sum = 0;
  for (const SpeculationTurn& turn : turns) sum += turn.seconds_without();
  return sum;
}

double SpeculationSpeed::seconds_with() const {
  double sum = 0;
  for (const SpeculationTurn& turn : turns) sum += turn.seconds_with();
  return sum;
}

const SpeculationTurn& SpeculationSpeed::worst() const {
  return *std::ranges::min_element(turns, {}, &SpeculationTurn::speedup);
}

SpeculationStats SpeculationSpeed::stats() const {
  SpeculationStats sum;
  for (const SpeculationTurn& turn : turns) sum.add(turn.stats);
  return sum;
}

SpeculationSpeed measure_speculation(const SpeculationSetup& setup, std::span<const TokenList> prompts,
                                     std::int64_t at_once, AnsweredBy by) {
  const auto each = static_cast<std::size_t>(at_once);
  require(each >= 1 && prompts.size() >= each && setup.rounds >= 1, "{} prompts to answer {} at once",
          prompts.size(), at_once);
  Decode without;
  Decode with;
  std::unique_ptr<IdleEngine> plain_engine;
  std::unique_ptr<IdleEngine> engine;
  if (by == AnsweredBy::generator) {
    require(at_once == 1, "a generator answers one prompt, not {} at once", at_once);
    without = [&](std::span<const TokenList> one, const Generator::OnText& on_text) {
      return generate_alone(setup, one.front(), std::nullopt, on_text);
    };
    with = [&](std::span<const TokenList> one, const Generator::OnText& on_text) {
      return generate_alone(setup, one.front(), setup.speculation, on_text);
    };
  } else {
    const auto prompt_tokens = static_cast<std::int64_t>(prompts.front().size());
    plain_engine = std::make_unique<IdleEngine>(setup, at_once, prompt_tokens, false);
    engine = std::make_unique<IdleEngine>(setup, at_once, prompt_tokens, true);
    without = [&](std::span<const TokenList> some, const Generator::OnText& on_text) {
      return plain_engine->answer(some, on_text);
    };
    with = [&](std::span<const TokenList> some, const Generator::OnText& on_text) {
      return engine->answer(some, on_text);
    };
  }
  // The first answers touch memory that later ones find there.
  without(prompts.first(each), {});
  with(prompts.first(each), {});
  SpeculationSpeed speed;
  for (std::size_t begin = 0; begin + each <= prompts.size(); begin += each)
    speed.turns.push_back(take_turns(without, with, prompts.subspan(begin, each), setup.rounds));
  speed.steps = reads_of(setup, prompts, each, speed.turns);
  return speed;
}

std::vector<double> measure_acceptance(const SpeculationSetup& setup, std::span<const TokenList> prompts,
                                       std::int64_t count) {
  SpeculationStats stats;
  for (const TokenList& prompt : prompts)
    stats.add(generate_alone(setup, prompt, SpeculationOptions{count, false}).stats);
  std::vector<double> chain;
  double all = 1.0;
  for (const SpeculationStats::Place& place : stats.places) {
    all *= static_cast<double>(place.accepted) / static_cast<double>(place.offered);
    chain.push_back(all);
  }
  return chain;
}

}  // namespace fathom
