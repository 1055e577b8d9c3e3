#include "infer/engine.h"

#include <utility>

#include "infer/sampler.h"

namespace fathom {

Engine::Engine(Communicator& job, const ServingLayout& layout, SequenceRunner& runner,
               const Transformer& model, const Tokenizer& tokenizer, std::vector<std::int64_t> end_of_text,
               const EngineOptions& options, std::function<void(std::exception_ptr)> on_failure)
    : job_(job),
      model_(model),
      tokenizer_(tokenizer),
      end_of_text_(std::move(end_of_text)),
      options_(options),
      ledger_(job.size(), options.cache, options.tiers),
      on_failure_(std::move(on_failure)),
      grammars_(runner.grammars()) {
  if (layout.is_disaggregated()) {
    GroupConductor::Setup setup = setup_for(layout.decode, runner);
    // Only a request's end makes room, and requests are there no longer than both groups.
    setup.on_room = [this] { prefill_->wake(); };
    decode_ = std::make_unique<GroupConductor>(std::move(setup));
  }
  GroupConductor::Setup setup = setup_for(layout.prefill, runner);
  setup.decoders = decode_.get();
  prefill_ = std::make_unique<GroupConductor>(std::move(setup));
}

GroupConductor::Setup Engine::setup_for(const RankRange& ranks, SequenceRunner& runner) {
  GroupConductor::Setup setup;
  setup.ranks = ranks;
  setup.step_tokens = options_.step_tokens;
  setup.job = &job_;
  setup.runner = &runner;
  setup.ledger = &ledger_;
  setup.tiers = options_.tiers;
  setup.make_answer = [this](EngineRequest& request) {
    return std::make_unique<AnswerBuilder>(tokenizer_, end_of_text_, request.options, request.prompt_tokens,
                                           request.limit, request.on_text);
  };
  setup.on_failure = [this](const std::exception_ptr& error) {
    if (on_failure_) on_failure_(error);
  };
  return setup;
}

Engine::~Engine() {
  std::vector<Request> left;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [id, request] : under_way_)
      if (Request alive = request.lock()) left.push_back(std::move(alive));
  }
  for (const Request& request : left) cancel(request);
  left.clear();
  drain();
  // Its thread may look at the other group until it ends; the other one tells it nothing when nothing is
  // under way.
  prefill_.reset();
  decode_.reset();
}

Engine::Request Engine::submit(std::vector<std::int32_t> prompt, const GenerationOptions& options,
                               AnswerBuilder::OnText on_text, std::function<void(Outcome)> on_end) {
  validate_sampling_options(options.sampling);
  check_prompt(prompt, model_);
  if (options.grammar.kind != GrammarRequest::Kind::kNone) {
    require(grammars_ != nullptr, "answers cannot have a grammar here: ask without");
    require(!options.ignore_eos,
            "an answer with a grammar ends where the grammar does: ask without ignore_eos");
    grammars_->compile(options.grammar);
  }
  auto request = std::make_shared<EngineRequest>();
  request->tokens = std::move(prompt);
  request->prompt_tokens = static_cast<std::int64_t>(request->tokens.size());
  request->options = options;
  request->limit = answer_limit(options, request->prompt_tokens, model_.max_positions());
  request->on_text = std::move(on_text);
  require(
      request->positions() <= ledger_.capacity(),
      "a prompt of {} tokens with an answer of up to {} needs a latent cache of {} positions, and a process "
      "has room for {}: ask for fewer tokens, or serve with more cache memory",
      request->prompt_tokens, request->limit.tokens, request->positions(), ledger_.capacity());
  request->on_end = [this, raw = request.get(), on_end = std::move(on_end)](Outcome outcome) {
    {
      const std::scoped_lock lock(mutex_);
      speculation_.add(outcome.answer.stats.speculation);
    }
    on_end(std::move(outcome));
    has_ended(*raw);
  };
  {
    const std::scoped_lock lock(mutex_);
    if (is_draining_) throw EngineHasEnded("the engine is ending: no more requests are taken");
    request->id = next_id_++;
    under_way_[request->id] = request;
  }
  const auto withdraw = [&] { has_ended(*request); };
  try {
    if (prefill_->submit(request, options_.max_waiting)) return request;
  } catch (...) {
    withdraw();
    throw;
  }
  withdraw();
  throw QueueIsFull(fmt::format("{} requests are waiting: try again later", options_.max_waiting));
}

void Engine::has_ended(const EngineRequest& request) {
  const std::scoped_lock lock(mutex_);
  under_way_.erase(request.id);
  // With the lock held: whoever waits may destroy the engine next.
  ended_.notify_all();
}

void Engine::cancel(const Request& request) {
  request->is_cancelled = true;
  prefill_->wake();
  if (decode_) decode_->wake();
}

void Engine::drain() {
  std::unique_lock lock(mutex_);
  is_draining_ = true;
  ended_.wait(lock, [this] { return under_way_.empty(); });
}

SpeculationStats Engine::speculation() const {
  const std::scoped_lock lock(mutex_);
  return speculation_;
}

std::size_t Engine::under_way() const {
  const std::scoped_lock lock(mutex_);
  return under_way_.size();
}

}  // namespace fathom
