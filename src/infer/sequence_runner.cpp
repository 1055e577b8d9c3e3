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
  Sequence(const NewSequence& plan, const ModelConfig& config, LatentType cache_type)
      : id(plan.id),
        send_to(plan.send_to),
        prompt(plan.prompt),
        cache(config, plan.capacity, cache_type),
        sampler(plan.sampling),
        hidden(Tensor::empty({1, config.hidden_size})) {
    for (const std::int32_t token : prompt) sampler.accept(token);
  }

  SequenceId id;
  int send_to;
  std::vector<std::int32_t> prompt;
  std::int64_t prompt_done = 0;  // tokens of it that are in the cache
  std::int32_t last_token = 0;   // that was chosen
  LatentCache cache;
  Sampler sampler;
  Tensor hidden;  // [1, hidden], of the prompt's last token, where the cache travels
  bool is_arriving = false;
  Transfers transfers;  // of the cache, either way
};

SequenceRunner::SequenceRunner(ThreadPool& pool, const Transformer& model, Communicator& job,
                               PlacedExperts* experts, std::int64_t with_text, LatentType cache_type)
    : context_{.pool = pool, .expert_peers = experts},
      model_(model),
      job_(job),
      experts_(experts),
      with_text_(with_text),
      cache_type_(cache_type) {}

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

void SequenceRunner::begin(const NewSequence& plan) {
  auto sequence = std::make_unique<Sequence>(plan, model_.config(), cache_type_);
  if (plan.receive_from >= 0) {
    sequence->is_arriving = true;
    sequence->prompt_done = static_cast<std::int64_t>(plan.prompt.size());
    sequence->transfers = receive_cache(job_, sequence->cache, sequence->prompt_done, sequence->hidden,
                                        plan.receive_from, tag_of_cache(plan.id));
  }
  sequences_[plan.id] = std::move(sequence);
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
  for (const NewSequence& sequence : plan.begin) begin(sequence);
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
    if (run.prompt_tokens == 0) {
      tokens.push_back(sequence.last_token);
    } else {
      const auto next = sequence.prompt.begin() + sequence.prompt_done;
      tokens.insert(tokens.end(), next, next + run.prompt_tokens);
      sequence.prompt_done += run.prompt_tokens;
    }
    sequences.offsets.push_back(static_cast<std::int64_t>(tokens.size()));
    caches.push_back(&sequence.cache);
  }
  const Tensor hidden = model_.forward_cached(context_, tokens, {sequences, caches}, &counts_);

  std::vector<Sequence*> choosing;
  std::vector<std::int64_t> last_rows;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Sequence& sequence = at(runs[i].id);
    if (sequence.prompt_done < static_cast<std::int64_t>(sequence.prompt.size())) continue;
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
    try {
      sequence.last_token = sequence.sampler.sample(own.values().first(static_cast<std::size_t>(with_text_)));
      sequence.sampler.accept(sequence.last_token);
    } catch (const NonFiniteLogits&) {
      sequence.last_token = StepResult::kNotNumbers;  // of this sequence: the others go on
    }
    result.tokens.push_back({sequence.id, sequence.last_token});
  }
}

}  // namespace fathom
