#include "infer/group_conductor.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/error.h"
#include "dist/messages.h"
#include "infer/group_member.h"

namespace fathom {
namespace {

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& exception) {
    return exception.what();
  }
}

}  // namespace

GroupConductor::GroupConductor(Setup setup)
    : setup_(std::move(setup)),
      schedule_(setup_.ranks.size(), setup_.step_tokens),
      plans_(static_cast<std::size_t>(setup_.ranks.size())) {
  thread_ = std::thread([this] { lead(); });
}

GroupConductor::~GroupConductor() {
  {
    const std::scoped_lock lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool GroupConductor::submit(Request request, std::size_t most_waiting) {
  {
    const std::scoped_lock lock(mutex_);
    if (has_failed_) throw EngineHasEnded("the engine has failed: start it again");
    if (waiting_.size() >= most_waiting) return false;
    waiting_.push_back(std::move(request));
    is_woken_ = true;
  }
  changed_.notify_all();
  return true;
}

void GroupConductor::take_over(Request request, GroupConductor& from) {
  {
    const std::scoped_lock lock(mutex_);
    inbox_.arrivals.push_back({std::move(request), &from});
    is_woken_ = true;
  }
  changed_.notify_all();
}

void GroupConductor::release(Request request) {
  {
    const std::scoped_lock lock(mutex_);
    inbox_.released.push_back(std::move(request));
    is_woken_ = true;
  }
  changed_.notify_all();
}

void GroupConductor::wake() {
  {
    const std::scoped_lock lock(mutex_);
    is_woken_ = true;
  }
  changed_.notify_all();
}

std::size_t GroupConductor::waiting() const {
  const std::scoped_lock lock(mutex_);
  return waiting_.size();
}

void GroupConductor::lead() {
  try {
    for (Inbox inbox; sleep_until_work(inbox); inbox = {}) {
      for (const Request& request : inbox.released) forget(request, request->prefill_rank);
      for (Arrival& arrival : inbox.arrivals) {
        const Request& request = arrival.request;
        plan_of(request->decode_rank)
            .begin.push_back({.id = request->id,
                              .capacity = request->positions(),
                              .sampling = request->options.sampling,
                              .receive_from = request->prefill_rank,
                              .prompt = request->prompt});
        has_orders_ = true;
        ++arriving_;
        active_[request->id] = {request, arrival.from};
      }
      end_cancelled();
      admit();
      if (has_orders_ || arriving_ > 0 || !schedule_.empty()) step();
    }
    std::vector<StepPlan> end(plans_.size());
    for (StepPlan& plan : end) plan.is_end = true;
    execute(std::move(end));
  } catch (...) {
    fail(std::current_exception());
  }
}

/// @return  false: the end
bool GroupConductor::sleep_until_work(Inbox& inbox) {
  std::unique_lock lock(mutex_);
  changed_.wait(
      lock, [&] { return is_woken_ || is_ending_ || has_orders_ || arriving_ > 0 || !schedule_.empty(); });
  is_woken_ = false;
  inbox = std::exchange(inbox_, {});
  const bool is_idle =
      inbox.arrivals.empty() && inbox.released.empty() && !has_orders_ && active_.empty() && waiting_.empty();
  return !(is_ending_ && is_idle);
}

/// Requests that wait are let in, in their order, while there is room for the first.
void GroupConductor::admit() {
  std::vector<RankRange> ranges = {setup_.ranks};
  if (setup_.decoders != nullptr) ranges.push_back(setup_.decoders->setup_.ranks);
  while (true) {
    Request request;
    std::vector<int> ranks;
    {
      const std::scoped_lock lock(mutex_);
      if (waiting_.empty()) return;
      const auto reserved = setup_.ledger->reserve(ranges, waiting_.front()->positions());
      if (!reserved) return;
      ranks = *reserved;
      request = std::move(waiting_.front());
      waiting_.pop_front();
    }
    request->prefill_rank = ranks.front();
    request->decode_rank = ranks.back();
    request->answer = setup_.make_answer(*request);
    plan_of(request->prefill_rank)
        .begin.push_back({.id = request->id,
                          .capacity = request->positions(),
                          .sampling = request->options.sampling,
                          .send_to = setup_.decoders != nullptr ? request->decode_rank : -1,
                          .prompt = request->prompt});
    has_orders_ = true;
    schedule_.add(request->id, request->prefill_rank - setup_.ranks.begin, request->prompt_tokens());
    active_[request->id] = {request};
  }
}

void GroupConductor::end_cancelled() {
  std::vector<Request> ended;
  {
    const std::scoped_lock lock(mutex_);
    std::erase_if(waiting_, [&](const Request& request) {
      if (!request->is_cancelled) return false;
      ended.push_back(request);
      return true;
    });
  }
  for (const Request& request : ended) {
    request->answer = setup_.make_answer(*request);
    request->on_end({request->answer->finish(), {}});
  }
  std::vector<SequenceId> cancelled;
  for (const auto& [id, active] : active_)
    if (active.request->is_cancelled && active.from == nullptr) cancelled.push_back(id);
  for (const SequenceId id : cancelled) finish(id, {active_.at(id).request->answer->finish(), {}});
}

void GroupConductor::step() {
  const std::vector<std::vector<StepPlan::Run>> runs = schedule_.next();
  const std::vector<std::int64_t> tokens = tokens_of_ranks(runs);
  const bool has_tokens = std::ranges::any_of(tokens, [](std::int64_t count) { return count > 0; });
  std::vector<StepPlan> plans(plans_.size());
  plans.swap(plans_);
  has_orders_ = false;
  for (std::size_t r = 0; r < plans.size(); ++r) {
    plans[r].run = runs[r];
    plans[r].tokens_of_rank = tokens;
    plans[r].waits_for_caches = !has_tokens && arriving_ > 0;
  }
  for (const StepResult& result : execute(std::move(plans))) take(result);
}

std::vector<StepResult> GroupConductor::execute(std::vector<StepPlan> plans) {
  const int own = setup_.job->rank();
  std::vector<StepResult> results(plans.size());
  const auto each_other = [&](const auto& act) {
    for (int r = setup_.ranks.begin; r < setup_.ranks.end; ++r)
      if (r != own) act(r, static_cast<std::size_t>(r - setup_.ranks.begin));
  };
  each_other([&](int rank, std::size_t at) {
    send_message(*setup_.job, pack(plans[at]), rank, GroupMember::kPlanTag);
  });
  const bool is_end = plans.front().is_end;
  if (setup_.ranks.contains(own) && !is_end)
    results[static_cast<std::size_t>(own - setup_.ranks.begin)] =
        setup_.runner->execute(plans[static_cast<std::size_t>(own - setup_.ranks.begin)]);
  if (is_end) return {};
  each_other([&](int rank, std::size_t at) {
    results[at] = unpack_result(receive_message(*setup_.job, rank, GroupMember::kResultTag));
  });
  return results;
}

void GroupConductor::take(const StepResult& result) {
  for (const SequenceId id : result.sent) move_on(id);
  for (const StepResult::Token& token : result.tokens) take_token(token.id, token.token);
}

void GroupConductor::take_token(SequenceId id, std::int32_t token) {
  Active& active = active_.at(id);
  const Request request = active.request;
  if (active.from != nullptr) {
    // The first token says that the cache is here.
    active.from->release(request);
    active.from = nullptr;
    --arriving_;
    schedule_.add(id, request->decode_rank - setup_.ranks.begin, 0);
  }
  if (token == StepResult::kNotNumbers) {
    finish(id, {{}, "the model's logits are not numbers"});
  } else if (!request->answer->push(token)) {
    finish(id, {request->answer->finish(), {}});
  }
}

/// Its cache is on the way: another group goes on.
void GroupConductor::move_on(SequenceId id) {
  const Request request = active_.at(id).request;
  schedule_.remove(id);
  active_.erase(id);
  setup_.decoders->take_over(request, *this);
}

/// A request that is under way here ends, and gives its memory back: on both ranks where its prompt is still
/// being read.
void GroupConductor::finish(SequenceId id, Outcome outcome) {
  const Request request = active_.at(id).request;
  schedule_.remove(id);
  active_.erase(id);
  const bool is_here = setup_.ranks.contains(request->decode_rank);
  forget(request, is_here ? request->decode_rank : request->prefill_rank);
  if (!is_here) setup_.ledger->release(request->decode_rank, request->positions());
  request->on_end(std::move(outcome));
}

/// Its rank here drops it before it begins others, for which the memory may be promised at once.
void GroupConductor::forget(const Request& request, int rank) {
  plan_of(rank).drop.push_back(request->id);
  has_orders_ = true;
  setup_.ledger->release(rank, request->positions());
  if (setup_.on_room) setup_.on_room();
}

void GroupConductor::fail(const std::exception_ptr& error) {
  std::vector<Request> ended;
  {
    const std::scoped_lock lock(mutex_);
    has_failed_ = true;
    ended.assign(waiting_.begin(), waiting_.end());
    waiting_.clear();
    for (const Arrival& arrival : inbox_.arrivals) ended.push_back(arrival.request);
    inbox_ = {};
  }
  for (const auto& [id, active] : active_) ended.push_back(active.request);
  active_.clear();
  for (const Request& request : ended) request->on_end({{}, text_of(error)});
  setup_.on_failure(error);
}

}  // namespace fathom
