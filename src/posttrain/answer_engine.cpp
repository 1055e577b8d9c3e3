#include "posttrain/answer_engine.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "dist/local_communicator.h"

namespace fathom {
namespace {

constexpr std::string_view kEndOfThinking = "\n</think>\n\n";

CacheOptions cache_for(const ModelConfig& config, const AnswerEngineOptions& options) {
  CacheOptions cache;
  cache.type = options.cache_type;
  const std::int64_t page = LatentPageLayout(config, cache.type, cache.page_positions).page_bytes();
  // No sequence is longer than the context, whatever memory there is.
  const std::int64_t needed = options.at_once * (cache.pages(config.max_position_embeddings) + 1);
  const std::int64_t pages = std::min(static_cast<std::int64_t>(options.cache_bytes) / page, needed);
  require(pages > 0, "{} bytes for latent caches: a page of {} tokens takes {}: give more",
          options.cache_bytes, cache.page_positions, page);
  cache.positions = pages * cache.page_positions;
  return cache;
}

bool is_thinking(std::string_view text) {
  return text.find("<think>") != std::string_view::npos && text.find("</think>") == std::string_view::npos;
}

}  // namespace

/// The requests of one call.
class AnswerEngine::Round {
 public:
  Round(AnswerEngine& engine, const std::function<void(GivenAnswer)>& on_answer)
      : engine_(engine), on_answer_(on_answer) {}
  /// Nothing may come in any more when this is gone.
  ~Round() {
    for (const auto& [id, asked] : under_way_) engine_.engine_->cancel(asked.handle);
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return outcomes_.size() == under_way_.size(); });
  }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  [[nodiscard]] std::size_t under_way() const { return under_way_.size(); }

  void begin(AnswerRequest request) {
    Asked asked;
    asked.limit = request.options.max_tokens;
    asked.text = request.prefix;
    asked.request = std::move(request);
    if (asked.request.think_tokens > 0 && is_thinking_possible(asked))
      asked.request.options.max_tokens =
          asked.limit > 0 ? std::min(asked.limit, asked.request.think_tokens) : asked.request.think_tokens;
    submit(next_key_++, std::move(asked));
  }

  /// Waits a moment for an answer, and deals with it if one comes.
  void take_one() {
    std::pair<std::size_t, Outcome> done;
    {
      std::unique_lock lock(mutex_);
      if (!arrived_.wait_for(lock, std::chrono::milliseconds(100), [&] { return !outcomes_.empty(); }))
        return;
      done = std::move(outcomes_.front());
      outcomes_.pop_front();
    }
    Asked asked = std::move(under_way_.at(done.first));
    under_way_.erase(done.first);
    require(done.second.error.empty(), "{}", done.second.error);
    receive(done.first, std::move(asked), done.second.answer);
  }

 private:
  struct Asked {
    AnswerRequest request;
    Engine::Request handle;
    std::int64_t limit = 0;  // tokens of the whole answer; 0: none
    std::string text;        // so far
    std::int64_t tokens = 0;
    std::vector<std::int32_t> ids;
    bool has_budget = true;  // for thinking, which is not used up or past yet
    bool was_cut = false;
  };

  static bool is_thinking_possible(const Asked& asked) {
    return asked.limit == 0 || asked.request.think_tokens < asked.limit;
  }

  void submit(std::size_t key, Asked asked) {
    asked.handle = engine_.engine_->submit(
        asked.request.prompt, asked.request.options, {}, [this, key](Outcome outcome) {
          const std::scoped_lock lock(mutex_);
          outcomes_.emplace_back(key, std::move(outcome));
          arrived_.notify_all();  // with the lock held: whoever waits may end this round next
        });
    under_way_.emplace(key, std::move(asked));
  }

  void receive(std::size_t key, Asked asked, const Answer& answer) {
    asked.text += answer.text;
    asked.tokens += std::ssize(answer.tokens);
    asked.ids.insert(asked.ids.end(), answer.tokens.begin(), answer.tokens.end());
    const bool is_first_part =
        asked.request.think_tokens > 0 && asked.has_budget && is_thinking_possible(asked);
    if (is_first_part && answer.reason == StopReason::max_tokens)
      if (go_on(key, asked, answer)) return;
    if (answer.reason == StopReason::end_of_text && answer.end_token >= 0)
      asked.ids.push_back(answer.end_token);
    on_answer_({asked.request.id, std::move(asked.text), asked.tokens, answer.reason, asked.was_cut,
                std::move(asked.ids)});
  }

  /// Behind the budget for thinking: the rest of the answer, with the block closed where it is open.
  bool go_on(std::size_t key, Asked& asked, const Answer& answer) {
    asked.has_budget = false;
    std::vector<std::int32_t>& prompt = asked.request.prompt;
    prompt.insert(prompt.end(), answer.tokens.begin(), answer.tokens.end());
    if (is_thinking(asked.text)) {
      const std::vector<std::int32_t> forced = engine_.model_.tokenizer.encode(kEndOfThinking, false);
      prompt.insert(prompt.end(), forced.begin(), forced.end());
      asked.ids.insert(asked.ids.end(), forced.begin(), forced.end());
      asked.text += kEndOfThinking;
      asked.tokens += std::ssize(forced);
      asked.was_cut = true;
    }
    const std::int64_t left = asked.limit > 0 ? asked.limit - asked.tokens : 0;
    if ((asked.limit > 0 && left <= 0) || std::ssize(prompt) >= engine_.model_.config.max_position_embeddings)
      return false;
    asked.request.options.max_tokens = left;
    ++asked.request.options.sampling.seed;  // other random numbers than those of the first part
    submit(key, std::move(asked));
    return true;
  }

  AnswerEngine& engine_;
  const std::function<void(GivenAnswer)>& on_answer_;
  std::size_t next_key_ = 0;
  std::map<std::size_t, Asked> under_way_;  // by key
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::pair<std::size_t, Outcome>> outcomes_;  // guarded by it
};

AnswerEngine::AnswerEngine(ThreadPool& pool, const TextModel& model, const Transformer& transformer,
                           const AnswerEngineOptions& options)
    : model_(model), at_once_(options.at_once), layout_(serving_layout(1, 0)), job_(single_communicator()) {
  EngineOptions engine;
  engine.cache = cache_for(model.config, options);
  engine.max_waiting = static_cast<std::size_t>(options.at_once) + 1;
  rank_ = std::make_unique<ServingRank>(pool, transformer, model.tokenizer, *job_, layout_,
                                        PlacementOptions{}, engine.cache);
  grammars_ = std::make_unique<GrammarCompiler>(model.tokenizer, model.end_of_text());
  rank_->runner().use_grammars(*grammars_);
  engine_ = std::make_unique<Engine>(*job_, layout_, rank_->runner(), transformer, model.tokenizer,
                                     model.end_of_text(), engine);
}

AnswerEngine::~AnswerEngine() = default;

void AnswerEngine::answer_all(const std::function<std::optional<AnswerRequest>()>& next,
                              const std::function<void(GivenAnswer)>& on_answer,
                              const std::function<bool()>& goes_on) {
  Round round(*this, on_answer);
  bool is_more = true;
  while (goes_on()) {
    while (is_more && static_cast<std::int64_t>(round.under_way()) < at_once_) {
      std::optional<AnswerRequest> request = next();
      is_more = request.has_value();
      if (is_more) round.begin(*std::move(request));
    }
    if (round.under_way() == 0) return;
    round.take_one();
  }
}

}  // namespace fathom
