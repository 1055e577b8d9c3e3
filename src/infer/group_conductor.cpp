#include "infer/group_conductor.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <set>
#include <span>
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
      plans_(static_cast<std::size_t>(setup_.ranks.size())),
      spilled_(plans_.size()) {
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
      for (const Request& request : inbox.released) forget(request, request->prefill_seat);
      for (Arrival& arrival : inbox.arrivals) {
        const Request& request = arrival.request;
        const CacheSeat& seat = request->decode_seat;
        plan_of(seat.rank).begin.push_back({.id = request->id,
                                            .sampling = request->options.sampling,
                                            .grammar = request->options.grammar,
                                            .receive_from = request->prefill_seat.rank,
                                            .prompt = request->tokens});
        plan_of(seat.rank).seat.push_back({request->id, seat.pages, 0});
        has_orders_ = true;
        ++arriving_;
        active_[request->id] = {request, arrival.from, request->prompt_tokens};
      }
      end_cancelled();
      admit();
      if (has_orders_ || arriving_ > 0 || !schedule_.empty()) step();
    }
    keep_prefixes();
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

/// Those that were paused go on, in their order, on each rank while there is room for the first.
/// @return  whether all do
bool GroupConductor::resume_paused() {
  std::set<int> full;
  for (auto& [id, active] : active_) {
    if (!active.is_paused) continue;
    CacheSeat& seat = seat_of(*active.request);
    if (full.contains(seat.rank)) continue;
    std::optional<CacheSeat> found = setup_.ledger->resume(seat.rank, active.request->tokens);
    if (!found) {
      full.insert(seat.rank);
      continue;
    }
    seat = std::move(*found);
    active.is_paused = false;
    active.cached = seat.held;
    plan_of(seat.rank).seat.push_back({id, seat.pages, seat.held});
    has_orders_ = true;
    schedule_.add(id, seat.rank - setup_.ranks.begin,
                  static_cast<std::int64_t>(active.request->tokens.size()) - seat.held);
  }
  return full.empty();
}

/// Requests that wait are let in, in their order, while there is room for the first: behind those that have
/// been here before.
void GroupConductor::admit() {
  if (!resume_paused()) return;
  std::vector<RankRange> ranges = {setup_.ranks};
  if (setup_.decoders != nullptr) ranges.push_back(setup_.decoders->setup_.ranks);
  while (true) {
    Request request;
    {
      const std::scoped_lock lock(mutex_);
      if (waiting_.empty()) return;
      request = waiting_.front();
    }
    std::optional<std::vector<CacheSeat>> seats = setup_.ledger->admit(ranges, request->tokens);
    if (!seats) return;
    {
      const std::scoped_lock lock(mutex_);
      waiting_.pop_front();  // only this thread takes from it
    }
    request->decode_seat = std::move(seats->back());
    if (setup_.decoders != nullptr) request->prefill_seat = std::move(seats->front());
    request->answer = setup_.make_answer(*request);
    const CacheSeat& seat = seat_of(*request);
    request->answer->note_cached(seat.held);
    plan_of(seat.rank).begin.push_back(
        {.id = request->id,
         .sampling = request->options.sampling,
         .grammar = request->options.grammar,
         .send_to = setup_.decoders != nullptr ? request->decode_seat.rank : -1,
         .prompt = request->tokens});
    plan_of(seat.rank).seat.push_back({request->id, seat.pages, seat.held});
    has_orders_ = true;
    schedule_.add(request->id, seat.rank - setup_.ranks.begin, request->prompt_tokens - seat.held);
    active_[request->id] = {request, nullptr, seat.held};
  }
}

/// Sequences whose next token needs one more page get it, the oldest first; where there is none, the youngest
/// on their rank gives up its own.
void GroupConductor::make_room() {
  const std::int64_t positions = setup_.ledger->options().page_positions;
  for (auto& [id, active] : active_) {
    CacheSeat& seat = seat_of(*active.request);
    while (!active.is_paused && active.from == nullptr &&
           static_cast<std::int64_t>(seat.pages.size()) * positions <= active.cached) {
      if (const std::optional<PageId> page = setup_.ledger->grow(seat.rank)) {
        seat.pages.push_back(*page);
        plan_of(seat.rank).seat.push_back({id, {*page}, 0});
        continue;
      }
      const auto youngest = std::find_if(active_.rbegin(), active_.rend(), [&](const auto& entry) {
        const Active& other = entry.second;
        return !other.is_paused && other.from == nullptr && seat_of(*other.request).rank == seat.rank;
      });
      pause(youngest->first);
    }
  }
}

void GroupConductor::pause(SequenceId id) {
  Active& active = active_.at(id);
  CacheSeat& seat = seat_of(*active.request);
  setup_.ledger->pause(seat, cached_tokens(active));
  plan_of(seat.rank).pause.push_back(id);
  has_orders_ = true;
  schedule_.remove(id);
  active.is_paused = true;
  active.cached = 0;
}

std::span<const std::int32_t> GroupConductor::cached_tokens(const Active& active) {
  return std::span(active.request->tokens).first(static_cast<std::size_t>(active.cached));
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

/// Room for drafts of a sequence that goes on by a step, in pages that nobody else needs now.
/// @return  how many there is room for
std::int64_t GroupConductor::lend_room(SequenceId id) {
  Active& active = active_.at(id);
  const EngineRequest& request = *active.request;
  const std::int64_t answered = static_cast<std::int64_t>(request.tokens.size()) - request.prompt_tokens;
  const std::int64_t wanted = std::min(setup_.runner->most_drafts(), request.limit.tokens - answered - 1);
  if (wanted <= 0) return 0;
  CacheSeat& seat = seat_of(*active.request);
  const std::int64_t positions = setup_.ledger->options().page_positions;
  const auto room = [&] {
    return static_cast<std::int64_t>(seat.pages.size()) * positions - active.cached - 1;
  };
  while (room() < wanted) {
    const std::optional<PageId> page = setup_.ledger->grow(seat.rank);
    if (!page) break;
    seat.pages.push_back(*page);
    plan_of(seat.rank).seat.push_back({id, {*page}, 0});
  }
  return std::min(wanted, room());
}

/// Pages that drafts had and that no accepted token lies in are for everybody again.
void GroupConductor::take_room_back(SequenceId id) {
  const auto found = active_.find(id);
  if (found == active_.end()) return;
  CacheSeat& seat = seat_of(*found->second.request);
  const auto kept = static_cast<std::size_t>(setup_.ledger->options().pages(found->second.cached));
  if (seat.pages.size() <= kept) return;
  setup_.ledger->give_back(seat.rank, std::span(seat.pages).subspan(kept));
  seat.pages.resize(kept);
  plan_of(seat.rank).trim.push_back({id, static_cast<std::int64_t>(kept)});
}

void GroupConductor::step() {
  make_room();
  std::vector<std::vector<StepPlan::Run>> runs = schedule_.next();
  for (std::vector<StepPlan::Run>& of_rank : runs)
    for (StepPlan::Run& run : of_rank)
      if (run.prompt_tokens == 0) run.most_drafts = lend_room(run.id);
  const std::vector<std::int64_t> tokens = tokens_of_ranks(runs);
  const bool has_tokens = std::ranges::any_of(tokens, [](std::int64_t count) { return count > 0; });
  std::vector<StepPlan> plans(plans_.size());
  plans.swap(plans_);
  has_orders_ = false;
  for (std::size_t r = 0; r < plans.size(); ++r) {
    plans[r].run = runs[r];
    plans[r].tokens_of_rank = tokens;
    plans[r].waits_for_caches = !has_tokens && arriving_ > 0;
    CacheLedger::Orders orders = setup_.ledger->take_orders(setup_.ranks.begin + static_cast<int>(r));
    plans[r].orders = std::move(orders.pages);
    spilled_[r] = std::move(orders.spilled);
    for (const StepPlan::Run& run : runs[r]) active_.at(run.id).cached += run.prompt_tokens;
  }
  std::vector<StepResult> results = execute(std::move(plans));
  for (std::size_t r = 0; r < results.size(); ++r)
    for (std::size_t i = 0; i < results[r].spilled.size(); ++i)
      setup_.tiers->save(spilled_[r].at(i), std::move(results[r].spilled[i]));
  for (const StepResult& result : results) take(result);
  for (const std::vector<StepPlan::Run>& of_rank : runs)
    for (const StepPlan::Run& run : of_rank)
      if (run.most_drafts > 0) take_room_back(run.id);
}

/// What only the prefixes' trees keep goes to where it outlives the process, if there is such a place.
void GroupConductor::keep_prefixes() {
  if (setup_.tiers == nullptr || !setup_.tiers->has_folder()) return;
  for (int rank = setup_.ranks.begin; rank < setup_.ranks.end; ++rank) setup_.ledger->give_up_all(rank);
  step();
  setup_.tiers->move_to_folder();
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
  for (const auto& [id, drafted, checked, accepted] : result.drafts)
    active_.at(id).request->answer->note_drafts(drafted, checked, accepted);
  for (const StepResult::Token& token : result.tokens) take_token(token);
}

void GroupConductor::take_token(const StepResult::Token& chosen) {
  const auto& [id, token, ends_grammar] = chosen;
  const auto found = active_.find(id);
  if (found == active_.end()) return;  // a token of the same step has ended it
  Active& active = found->second;
  const Request request = active.request;
  active.cached = static_cast<std::int64_t>(request->tokens.size());  // those that it was chosen by
  if (token >= 0 && request->answer->is_empty())
    setup_.ledger->remember(seat_of(*request), cached_tokens(active));
  if (active.from != nullptr) {
    // The first token says that the cache is here.
    active.from->release(request);
    active.from = nullptr;
    --arriving_;
    schedule_.add(id, request->decode_seat.rank - setup_.ranks.begin, 0);
  }
  request->tokens.push_back(token);
  if (token == StepResult::kNotNumbers) {
    finish(id, {{}, "the model's logits are not numbers"});
  } else if (token == StepResult::kNoTokenFits) {
    finish(id, {{}, "the grammar cannot be followed: no token goes on with its text, or too many ways do"});
  } else if (!request->answer->push(token) || ends_grammar) {
    finish(id, {request->answer->finish(StopReason::end_of_text), {}});
  }
}

/// Its cache is on the way: another group goes on.
void GroupConductor::move_on(SequenceId id) {
  const Request request = active_.at(id).request;
  setup_.ledger->remember(seat_of(*request), cached_tokens(active_.at(id)));
  schedule_.remove(id);
  active_.erase(id);
  setup_.decoders->take_over(request, *this);
}

/// A request that is under way here ends, and gives its memory back: on both ranks where its prompt is still
/// being read.
void GroupConductor::finish(SequenceId id, Outcome outcome) {
  const Active active = active_.at(id);
  const Request request = active.request;
  CacheSeat& seat = seat_of(*request);
  schedule_.remove(id);
  active_.erase(id);
  if (active.is_paused) setup_.ledger->end_pause(seat.rank);
  forget(request, seat, outcome.error.empty() ? cached_tokens(active) : std::span<const std::int32_t>());
  if (setup_.decoders != nullptr) {
    setup_.ledger->release(request->decode_seat);
    setup_.decoders->wake();
  }
  request->on_end(std::move(outcome));
}

/// Its rank here drops it before it begins others, which may get its pages at once.
void GroupConductor::forget(const Request& request, CacheSeat& seat, std::span<const std::int32_t> cached) {
  plan_of(seat.rank).drop.push_back(request->id);
  has_orders_ = true;
  setup_.ledger->release(seat, cached);
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
