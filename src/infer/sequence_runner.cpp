#include "infer/sequence_runner.h"

#include <algorithm>
#include <cstddef>
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

  [[nodiscard]] auto uncached() const { return tokens.begin() + cache.length(); }
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
  LatentCache& cache = at(id).cache;
  cache.truncate(0);
  cache.table().shrink(0);
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
  for (Sequence* sequence : arrived) choose({sequence}, sequence->hidden, result);
}

StepResult SequenceRunner::execute(const StepPlan& plan) {
  StepResult result;
  for (const SequenceId id : plan.drop) drop(id);
  for (const PageOrder& order : plan.orders) obey(order, result);
  for (const NewSequence& sequence : plan.begin) {
    sequences_[sequence.id] = std::make_unique<Sequence>(sequence, model_, layout_);
    if (grammars_ != nullptr) at(sequence.id).sampler.constrain(grammars_->compile(sequence.grammar));
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

void SequenceRunner::run(const std::vector<StepPlan::Run>& runs, StepResult& result) {
  std::vector<std::int32_t> tokens;
  Sequences sequences{{0}};
  std::vector<LatentCache*> caches;
  for (const StepPlan::Run& run : runs) {
    Sequence& sequence = at(run.id);
    const auto next = sequence.uncached();
    tokens.insert(tokens.end(), next, next + std::max<std::int64_t>(run.prompt_tokens, 1));
    sequences.offsets.push_back(static_cast<std::int64_t>(tokens.size()));
    caches.push_back(&sequence.cache);
  }
  const Tensor hidden = model_.forward_cached(context_, tokens, {sequences, caches}, &counts_);

  std::vector<Sequence*> choosing;
  std::vector<std::int64_t> last_rows;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Sequence& sequence = at(runs[i].id);
    if (sequence.uncached() != sequence.tokens.end()) continue;
    const std::int64_t last = sequences.offsets[i + 1] - 1;
    if (sequence.send_to < 0) {
      choosing.push_back(&sequence);
      last_rows.push_back(last);
      continue;
    }
    sequence.hidden = hidden.rows(last, last + 1).clone();
    sequence.transfers =
        send_cache(job_, sequence.cache, sequence.hidden, sequence.send_to, tag_of_cache(sequence.id));
    result.sent.push_back(sequence.id);
  }
  if (choosing.empty()) return;
  const std::int64_t width = hidden.dim(1);
  Tensor last_hidden = Tensor::empty({static_cast<std::int64_t>(choosing.size()), width});
  for (std::size_t i = 0; i < last_rows.size(); ++i)
    std::copy_n(hidden.f32() + last_rows[i] * width, width,
                last_hidden.f32() + static_cast<std::int64_t>(i) * width);
  choose(choosing, last_hidden, result);
}

void SequenceRunner::choose(const std::vector<Sequence*>& sequences, const Tensor& hidden,
                            StepResult& result) {
  const Tensor logits = model_.head(context_, hidden);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    Sequence& sequence = *sequences[i];
    const auto row = static_cast<std::int64_t>(i);
    const Tensor own = logits.rows(row, row + 1);
    std::int32_t token = StepResult::kNotNumbers;  // of this sequence: the others go on
    try {
      token = sequence.sampler.sample(own.values().first(static_cast<std::size_t>(with_text_)));
      sequence.sampler.accept(token);
      sequence.tokens.push_back(token);
    } catch (const NonFiniteLogits&) {
    } catch (const Error&) {
      token = StepResult::kNoTokenFits;
    }
    result.tokens.push_back({sequence.id, token, sequence.sampler.must_end()});
  }
}

}  // namespace fathom
