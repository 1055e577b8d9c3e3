#include "infer/sequence_runner.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "infer/cache_transfer.h"

namespace fathom {
namespace {

/// Caches of different sequences travel under different tags, as the two ranks need not begin them in one
/// order.
int tag_of_cache(SequenceId id) {
  constexpr SequenceId kTagsOfCaches = 1U << 16U;
  constexpr int kFirstTag = 1 << 17;
  static_assert(kFirstTag + (1 << 16) < Communicator::kTags);
  return kFirstTag + static_cast<int>(id % kTagsOfCaches);
}

}  // namespace

struct SequenceRunner::Sequence {
  Sequence(const NewSequence& plan, const Transformer& model, const LatentPageLayout& layout)
      : id(plan.id),
        send_to(plan.send_to),
        tokens(plan.prompt),
        cache(layout, model.max_positions()),
        sampler(plan.sampling),
        hidden(Tensor::empty({1, model.config().hidden_size})) {
    for (const std::int32_t token : tokens) sampler.accept(token);
  }

  SequenceId id;
  int send_to;
  std::vector<std::int32_t> tokens;  // of prompt and answer; the first ones are in the cache
  LatentCache cache;
  Sampler sampler;
  Tensor hidden;  // [1, hidden], of the prompt's last token, where the cache travels
  bool is_arriving = false;
  Transfers transfers;  // of the cache, either way

  std::optional<Speculation::Text> text;  // with speculation
  std::int64_t told = 0;                  // tokens that it has been told of
  bool is_open = false;                   // the next choice is to be made by a pass without drafts of its own

  /// Tokens that it has and its cache has not.
  [[nodiscard]] std::span<const std::int32_t> uncached() const {
    return std::span(tokens).subspan(static_cast<std::size_t>(cache.length()));
  }
};

SequenceRunner::SequenceRunner(ThreadPool& pool, const Transformer& model, Communicator& job,
                               PlacedExperts* experts, std::int64_t with_text, const CacheOptions& cache)
    : context_{.pool = pool, .expert_peers = experts},
      model_(model),
      job_(job),
      experts_(experts),
      with_text_(with_text),
      layout_(model.config(), cache.type, cache.page_positions),
      pages_(static_cast<std::size_t>(cache.pages())) {}

SequenceRunner::~SequenceRunner() = default;

SequenceRunner::Sequence& SequenceRunner::at(SequenceId id) {
  const auto found = sequences_.find(id);
  require(found != sequences_.end(), "rank {} has no sequence {}", job_.rank(), id);
  return *found->second;
}

void SequenceRunner::drop(SequenceId id) {
  at(id).transfers.wait();  // its memory is in use until then
  sequences_.erase(id);
}

LatentPage& SequenceRunner::page(PageId id) {
  require(id >= 0 && static_cast<std::size_t>(id) < pages_.size(), "rank {} has no page {}", job_.rank(), id);
  LatentPage& page = pages_[static_cast<std::size_t>(id)];
  if (page == nullptr) page = allocate_page(layout_);
  return page;
}

std::span<std::byte> SequenceRunner::bytes_of(PageId id) {
  return {static_cast<std::byte*>(page(id).get()), static_cast<std::size_t>(layout_.page_bytes())};
}

void SequenceRunner::obey(const PageOrder& order, StepResult& result) {
  const std::span<std::byte> bytes = bytes_of(order.page);
  switch (order.kind) {
    case PageOrder::Kind::copy:
      std::ranges::copy(bytes_of(order.source), bytes.begin());
      break;
    case PageOrder::Kind::fill:
      require(order.bytes.size() == bytes.size(), "{} bytes to fill a page of {} with", order.bytes.size(),
              bytes.size());
      std::ranges::copy(order.bytes, bytes.begin());
      break;
    case PageOrder::Kind::spill:
      result.spilled.emplace_back(bytes.begin(), bytes.end());
      break;
  }
}

void SequenceRunner::seat(const StepPlan::Seat& plan) {
  LatentCache& cache = at(plan.id).cache;
  if (cache.table().pages().empty()) cache.set_length(plan.held);
  for (const PageId id : plan.pages) cache.table().add(page(id));
}

void SequenceRunner::pause(SequenceId id) {
  Sequence& sequence = at(id);
  sequence.cache.truncate(0);
  sequence.cache.table().shrink(0);
  // What the drafter keeps of the text is part of the memory that the sequence gives up.
  if (sequence.text) begin_text(sequence);
}

void SequenceRunner::speculate(Speculation& speculation) {
  require(job_.size() == 1, "sequences that are spread over {} processes cannot have drafts", job_.size());
  speculation_ = &speculation;
}

void SequenceRunner::begin_text(Sequence& sequence) const {
  const std::int64_t capacity = model_.max_positions() + 1;
  if (sequence.text) {
    speculation_->begin_again(*sequence.text, capacity);
  } else {
    sequence.text.emplace(speculation_->begin(capacity));
  }
  sequence.told = 0;
}

void SequenceRunner::receive(const NewSequence& plan) {
  Sequence& sequence = at(plan.id);
  sequence.is_arriving = true;
  sequence.transfers = receive_cache(job_, sequence.cache, static_cast<std::int64_t>(plan.prompt.size()),
                                     sequence.hidden, plan.receive_from, tag_of_cache(plan.id));
}

void SequenceRunner::take_arrivals(bool waits, StepResult& result) {
  std::vector<Sequence*> arrived;
  for (const auto& [id, sequence] : sequences_) {
    if (!sequence->is_arriving) continue;
    if (!sequence->transfers.done() && !(waits && arrived.empty())) continue;
    sequence->transfers.wait();
    sequence->is_arriving = false;
    arrived.push_back(sequence.get());
  }
  for (Sequence* sequence : arrived) {
    const std::vector<Choice> first = {{sequence, {}, sequence->hidden}};
    choose(first, logits_of(first), result);
  }
}

StepResult SequenceRunner::execute(const StepPlan& plan) {
  StepResult result;
  for (const auto& [id, pages] : plan.trim) at(id).cache.table().shrink(static_cast<std::size_t>(pages));
  for (const SequenceId id : plan.drop) drop(id);
  for (const PageOrder& order : plan.orders) obey(order, result);
  for (const NewSequence& sequence : plan.begin) {
    sequences_[sequence.id] = std::make_unique<Sequence>(sequence, model_, layout_);
    if (grammars_ != nullptr) at(sequence.id).sampler.constrain(grammars_->compile(sequence.grammar));
    if (speculation_ != nullptr) begin_text(at(sequence.id));
  }
  for (const StepPlan::Seat& sequence : plan.seat) seat(sequence);
  for (const NewSequence& sequence : plan.begin)
    if (sequence.receive_from >= 0) receive(sequence);
  for (const SequenceId id : plan.pause) pause(id);
  take_arrivals(plan.waits_for_caches, result);
  const bool somebody_has_tokens =
      std::ranges::any_of(plan.tokens_of_rank, [](std::int64_t tokens) { return tokens > 0; });
  if (!somebody_has_tokens) return result;
  if (experts_ != nullptr) experts_->expect_tokens(plan.tokens_of_rank);
  run(plan.run, result);
  return result;
}

std::vector<std::vector<std::int32_t>> SequenceRunner::draft(const std::vector<StepPlan::Run>& runs) {
  std::vector<std::vector<std::int32_t>> drafts(runs.size());
  if (speculation_ == nullptr) return drafts;
  std::vector<Speculation::Request> requests;
  std::vector<std::size_t> run_of;
  std::int64_t others = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    others += runs[i].prompt_tokens;
    if (runs[i].prompt_tokens > 0) continue;
    Sequence& sequence = at(runs[i].id);
    requests.push_back({*sequence.text, sequence.tokens.back(), sequence.is_open ? 0 : runs[i].most_drafts,
                        sequence.sampler});
    run_of.push_back(i);
  }
  if (!requests.empty()) speculation_->draft(context_, requests, others);
  for (std::size_t i = 0; i < requests.size(); ++i) drafts[run_of[i]] = std::move(requests[i].drafts);
  return drafts;
}

void SequenceRunner::run(const std::vector<StepPlan::Run>& runs, StepResult& result) {
  std::vector<std::vector<std::int32_t>> drafts = draft(runs);
  std::vector<std::int32_t> tokens;
  Sequences sequences{{0}};
  std::vector<LatentCache*> caches;
  std::int64_t all_drafts = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Sequence& sequence = at(runs[i].id);
    const auto next =
        sequence.uncached().first(static_cast<std::size_t>(std::max<std::int64_t>(runs[i].prompt_tokens, 1)));
    tokens.insert(tokens.end(), next.begin(), next.end());
    tokens.insert(tokens.end(), drafts[i].begin(), drafts[i].end());
    all_drafts += static_cast<std::int64_t>(drafts[i].size());
    sequences.offsets.push_back(static_cast<std::int64_t>(tokens.size()));
    caches.push_back(&sequence.cache);
  }
  const auto start = std::chrono::steady_clock::now();
  const Tensor hidden = model_.forward_cached(context_, tokens, {sequences, caches}, &counts_);

  std::vector<Choice> choices;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Sequence& sequence = at(runs[i].id);
    const bool may_draft = sequence.text && runs[i].prompt_tokens == 0;
    const std::int64_t end = sequences.offsets[i + 1];
    if (sequence.text && !may_draft) tell(sequence, hidden.rows(sequences.offsets[i], end));
    if (sequence.cache.length() < static_cast<std::int64_t>(sequence.tokens.size())) continue;
    const Tensor last = hidden.rows(end - 1 - static_cast<std::int64_t>(drafts[i].size()), end);
    if (sequence.send_to < 0) {
      choices.push_back({&sequence, std::move(drafts[i]), last, may_draft});
      continue;
    }
    sequence.hidden = last.clone();
    sequence.transfers =
        send_cache(job_, sequence.cache, sequence.hidden, sequence.send_to, tag_of_cache(sequence.id));
    result.sent.push_back(sequence.id);
  }
  if (choices.empty()) return;
  const Tensor logits = logits_of(choices);
  if (speculation_ != nullptr)
    speculation_->record_pass(
        static_cast<std::int64_t>(tokens.size()), all_drafts,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  choose(choices, logits, result);
}

void SequenceRunner::tell(Sequence& sequence, const Tensor& rows) const {
  const std::span<const std::int32_t> tokens(sequence.tokens);
  const auto told = static_cast<std::size_t>(sequence.told);
  const auto begin = static_cast<std::size_t>(sequence.cache.length() - rows.dim(0));
  // Those whose latents were cached before.
  if (begin > told) speculation_->read(*sequence.text, tokens.subspan(told, begin - told), {});
  speculation_->read(*sequence.text, tokens.subspan(begin, static_cast<std::size_t>(rows.dim(0))), rows);
  sequence.told = sequence.cache.length();
}

Tensor SequenceRunner::logits_of(const std::vector<Choice>& choices) const {
  std::int64_t rows = 0;
  for (const Choice& choice : choices) rows += choice.hidden.dim(0);
  Tensor hidden = Tensor::empty({rows, model_.config().hidden_size});
  float* next = hidden.f32();
  for (const Choice& choice : choices) next = std::ranges::copy(choice.hidden.values(), next).out;
  return model_.head(context_, hidden);
}

void SequenceRunner::choose(const std::vector<Choice>& choices, const Tensor& logits, StepResult& result) {
  std::int64_t begin = 0;
  for (const Choice& choice : choices) {
    Sequence& sequence = *choice.sequence;
    const Tensor own = logits.rows(begin, begin + choice.hidden.dim(0));
    begin += choice.hidden.dim(0);
    const auto keep = [&](std::int32_t token) {
      sequence.tokens.push_back(token);
      result.tokens.push_back({sequence.id, token, sequence.sampler.must_end()});
      return !sequence.sampler.must_end();
    };
    // What goes wrong is of this sequence: the others go on.
    const auto fail_with = [&](std::int32_t error) {
      result.tokens.push_back({sequence.id, error, sequence.sampler.must_end()});
    };
    try {
      const Checked checked = check_drafts(own, with_text_, choice.drafts, sequence.sampler, keep);
      sequence.is_open = checked.is_open;
      if (choice.may_draft) settle(choice, checked, result);
    } catch (const NonFiniteLogits&) {
      fail_with(StepResult::kNotNumbers);
    } catch (const Error&) {
      fail_with(StepResult::kNoTokenFits);
    }
  }
}

void SequenceRunner::settle(const Choice& choice, const Checked& checked, StepResult& result) {
  Sequence& sequence = *choice.sequence;
  // An open choice is to be made by a pass over the token before it, which therefore counts as unread.
  const std::int64_t read = checked.accepted + (checked.is_open ? 0 : 1);
  sequence.cache.truncate(sequence.told + read);
  if (read > 0) tell(sequence, choice.hidden.rows(0, read));
  const std::int64_t drafted = sequence.text->drafted();
  speculation_->record(*sequence.text, checked.accepted);
  result.drafts.push_back(
      {sequence.id, drafted, static_cast<std::int64_t>(choice.drafts.size()), checked.accepted});
}

}  // namespace fathom
