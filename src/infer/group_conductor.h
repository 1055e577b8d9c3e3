#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "dist/communicator.h"
#include "infer/batch_schedule.h"
#include "infer/cache_ledger.h"
#include "infer/engine_request.h"
#include "infer/sequence_runner.h"
#include "infer/step_plan.h"

namespace fathom {

/// Leads a group of ranks through their steps, on a thread of the leader's (rank 0 of the job): before each
/// it says what every rank does, after it takes the tokens that were chosen. It sleeps while there is nothing
/// to do, and the ranks with it.
///
/// A request comes to a group by `submit`, which has it wait for room, or by `take_over` from the group that
/// has read its prompt. Everything of a request that is under way belongs to the group's thread.
class GroupConductor {
 public:
  using Request = std::shared_ptr<EngineRequest>;

  struct Setup {
    RankRange ranks;                   // the group's
    std::int64_t step_tokens = 512;    // see `BatchSchedule`
    Communicator* job = nullptr;       // of all ranks, this one's
    SequenceRunner* runner = nullptr;  // of this rank, if it is of the group
    CacheLedger* ledger = nullptr;     // of all ranks
    /// Makes the answer of a request that is let in.
    std::function<std::unique_ptr<AnswerBuilder>(EngineRequest&)> make_answer;
    /// Called once if the thread cannot go on, from it; requests of the group have ended with an error then.
    std::function<void(std::exception_ptr)> on_failure;
    /// The group that goes on where prompts have been read; null: this one.
    GroupConductor* decoders = nullptr;
    PrefixTiers* tiers = nullptr;  // where spilled pages go; null: none are
    /// Called when memory has become free, where others wait for it.
    std::function<void()> on_room;
  };

  explicit GroupConductor(Setup setup);
  /// Ends the group's ranks. Nothing may be under way.
  ~GroupConductor();
  GroupConductor(const GroupConductor&) = delete;
  GroupConductor& operator=(const GroupConductor&) = delete;

  // All of these are called from any thread, and return at once.

  /// @param most_waiting  false is returned where so many wait already
  bool submit(Request request, std::size_t most_waiting);
  /// A request whose cache is being sent to its `decode_rank` here.
  /// @param from  the group that sends it, and is told when it is here
  void take_over(Request request, GroupConductor& from);
  /// The cache of a request that another group has taken over has arrived there.
  void release(Request request);
  /// Something has changed: a request was cancelled, there is room.
  void wake();
  [[nodiscard]] std::size_t waiting() const;

 private:
  struct Arrival {
    Request request;
    GroupConductor* from;
  };
  struct Active {
    Request request;
    GroupConductor* from = nullptr;  // while its cache is on the way: who sends it
    std::int64_t cached = 0;         // of its tokens: they are in the cache after the steps so far
    bool is_paused = false;          // it has no pages
  };
  /// What has come from other threads.
  struct Inbox {
    std::vector<Arrival> arrivals;
    std::vector<Request> released;
  };

  void lead();
  bool sleep_until_work(Inbox& inbox);
  void admit();
  bool resume_paused();
  void make_room();
  void pause(SequenceId id);
  void end_cancelled();
  std::int64_t lend_room(SequenceId id);
  void take_room_back(SequenceId id);
  void step();
  std::vector<StepResult> execute(std::vector<StepPlan> plans);
  void take(const StepResult& result);
  void keep_prefixes();
  void take_token(const StepResult::Token& chosen);
  void move_on(SequenceId id);
  void finish(SequenceId id, Outcome outcome);
  void forget(const Request& request, CacheSeat& seat, std::span<const std::int32_t> cached = {});
  /// Of a request that is under way here.
  [[nodiscard]] CacheSeat& seat_of(EngineRequest& request) const {
    return setup_.decoders != nullptr ? request.prefill_seat : request.decode_seat;
  }
  /// Its tokens that are in its pages.
  [[nodiscard]] static std::span<const std::int32_t> cached_tokens(const Active& active);
  void fail(const std::exception_ptr& error);
  StepPlan& plan_of(int rank) { return plans_[static_cast<std::size_t>(rank - setup_.ranks.begin)]; }

  Setup setup_;

  // Of the thread alone.
  BatchSchedule schedule_;
  std::map<SequenceId, Active> active_;
  std::int64_t arriving_ = 0;    // of those, whose caches are on the way
  std::vector<StepPlan> plans_;  // [ranks], of the next step: what is known of it so far
  std::vector<std::vector<std::vector<std::int32_t>>> spilled_;  // [ranks] texts of the pages it spills
  bool has_orders_ = false;                                      // they drop or begin sequences

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by it.
  std::deque<Request> waiting_;
  Inbox inbox_;
  bool is_woken_ = false;
  bool is_ending_ = false;
  bool has_failed_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace fathom
