// Spoilt schedules: the checker's verdict is that of an executor which runs the lists with real queues.

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include "base/error.h"
#include "dist/schedule_check.h"

namespace fathom {
namespace {

/// Runs lists message by message, in a random order of the ranks. Slow, and written from the rules alone.
class QueueExecutor {
 public:
  /// @param limits  [rank] chunks in flight
  QueueExecutor(const PipelineSchedule& schedule, std::vector<std::int64_t> limits, std::uint32_t seed)
      : schedule_(schedule),
        limits_(std::move(limits)),
        in_flight_(limits_.size(), 0),
        most_(limits_.size(), 0),
        random_(seed) {}

  /// Whether all ranks get to their ends, with everything done once and no more than `limits` in flight.
  bool runs() {
    std::vector<std::size_t> at(schedule_.actions.size(), 0);
    try {
      while (step_any(at)) {
      }
    } catch (const Broken&) {
      return false;
    }
    for (std::size_t rank = 0; rank < at.size(); ++rank)
      if (at[rank] != schedule_.actions[rank].size()) return false;
    return all_done();
  }
  [[nodiscard]] const std::vector<std::int64_t>& most_in_flight() const { return most_; }

 private:
  struct Broken {};
  using Chunk = std::pair<int, int>;           // stage, micro-batch
  using Message = std::tuple<bool, int, int>;  // gradient, the sending chunk
  enum What : std::uint8_t { kForward, kBackward, kWeight, kSentOut, kSentBack };

  static void demand(bool condition) {
    if (!condition) throw Broken();
  }

  /// One action of some rank that can go on, from a random one on. @return false where all wait or have ended
  bool step_any(std::vector<std::size_t>& at) {
    const std::size_t first = random_() % at.size();
    for (std::size_t i = 0; i < at.size(); ++i) {
      const std::size_t rank = (first + i) % at.size();
      const std::vector<Action>& list = schedule_.actions[rank];
      if (at[rank] == list.size() || !step(static_cast<int>(rank), list[at[rank]])) continue;
      ++at[rank];
      return true;
    }
    return false;
  }

  [[nodiscard]] int owner(int stage, int batch) const {
    const PipelineShape& shape = schedule_.shape;
    switch (shape.kind) {
      case PipelineKind::interleaved:
        return stage % (shape.stages / shape.stages_per_rank);
      case PipelineKind::dualpipe:
        return 2 * batch < shape.micro_batches ? stage : shape.stages - 1 - stage;
      case PipelineKind::dualpipe_v:
        return std::min(stage, shape.stages - 1 - stage);
      default:
        return stage;
    }
  }

  [[nodiscard]] Chunk own(int rank, StageBatch chunk) const {
    demand(chunk.stage >= 0 && chunk.stage < schedule_.shape.stages && chunk.micro_batch >= 0 &&
           chunk.micro_batch < schedule_.shape.micro_batches);
    demand(owner(chunk.stage, chunk.micro_batch) == rank);
    return {chunk.stage, chunk.micro_batch};
  }

  void once(What what, Chunk chunk) { demand(done_.insert({what, chunk}).second); }
  [[nodiscard]] bool has(What what, Chunk chunk) const { return done_.contains({what, chunk}); }

  /// The n-th receive from a rank takes its n-th send. Throws unless one has been posted for this message.
  [[nodiscard]] bool arrived(int rank, bool gradient, Chunk from) {
    const std::pair<int, int> ends = {owner(from.first, from.second), rank};
    const Message message = {gradient, from.first, from.second};
    const std::vector<Message>& posted = receives_[ends];
    const auto place = std::ranges::find(posted, message);
    demand(place != posted.end());
    const auto index = static_cast<std::size_t>(place - posted.begin());
    const std::vector<Message>& sent = sends_[ends];
    if (sent.size() <= index) return false;
    demand(sent[index] == message);
    return true;
  }

  [[nodiscard]] bool input_ready(int rank, Chunk chunk) {
    if (chunk.first == 0) return true;
    const Chunk before = {chunk.first - 1, chunk.second};
    if (owner(before.first, before.second) != rank) return arrived(rank, false, before);
    demand(has(kForward, before));
    return true;
  }
  [[nodiscard]] bool gradient_ready(int rank, Chunk chunk) {
    demand(has(kForward, chunk));
    if (chunk.first + 1 == schedule_.shape.stages) return true;
    const Chunk after = {chunk.first + 1, chunk.second};
    if (owner(after.first, after.second) != rank) return arrived(rank, true, after);
    demand(has(kBackward, after));
    return true;
  }

  void forward(int rank, Chunk chunk) {
    once(kForward, chunk);
    const auto at = static_cast<std::size_t>(rank);
    demand(++in_flight_[at] <= limits_[at]);
    most_[at] = std::max(most_[at], in_flight_[at]);
  }
  void weight(int rank, Chunk chunk) {
    demand(has(kBackward, chunk));
    once(kWeight, chunk);
    --in_flight_[static_cast<std::size_t>(rank)];
  }

  /// @return false where it has to wait
  bool step(int rank, const Action& action) {
    const Chunk chunk = own(rank, action.chunk);
    switch (action.kind) {
      case ActionKind::forward:
        if (!input_ready(rank, chunk)) return false;
        forward(rank, chunk);
        return true;
      case ActionKind::backward:
      case ActionKind::backward_input:
        if (!gradient_ready(rank, chunk)) return false;
        once(kBackward, chunk);
        if (action.kind == ActionKind::backward) weight(rank, chunk);
        return true;
      case ActionKind::backward_weight:
        weight(rank, chunk);
        return true;
      case ActionKind::forward_backward: {
        const Chunk other = own(rank, action.backward_chunk);
        if (!gradient_ready(rank, other) || !input_ready(rank, chunk)) return false;
        forward(rank, chunk);
        once(kBackward, other);
        weight(rank, other);
        return true;
      }
      default:
        post(rank, action, chunk);
        return true;
    }
  }

  void post(int rank, const Action& action, Chunk chunk) {
    using enum ActionKind;
    const bool gradient = action.kind == send_gradient || action.kind == receive_gradient;
    const bool sends = action.kind == send_activation || action.kind == send_gradient;
    const bool up = action.kind == send_activation || action.kind == receive_gradient;
    const int beside = up ? chunk.first + 1 : chunk.first - 1;
    demand(beside >= 0 && beside < schedule_.shape.stages);
    const int peer = owner(beside, chunk.second);
    demand(peer != rank && peer == action.peer);
    if (sends) {
      demand(has(gradient ? kBackward : kForward, chunk));
      once(gradient ? kSentBack : kSentOut, chunk);
      sends_[{rank, peer}].push_back({gradient, chunk.first, chunk.second});
      return;
    }
    std::vector<Message>& posted = receives_[{peer, rank}];
    const Message message = {gradient, beside, chunk.second};
    demand(std::ranges::find(posted, message) == posted.end());
    posted.push_back(message);
  }

  [[nodiscard]] bool all_done() const {
    for (int stage = 0; stage < schedule_.shape.stages; ++stage)
      for (int batch = 0; batch < schedule_.shape.micro_batches; ++batch)
        for (const What what : {kForward, kBackward, kWeight})
          if (!has(what, {stage, batch})) return false;
    return sends_ == receives_;
  }

  const PipelineSchedule& schedule_;
  std::vector<std::int64_t> limits_;
  std::vector<std::int64_t> in_flight_;
  std::vector<std::int64_t> most_;
  std::mt19937 random_;
  std::set<std::pair<What, Chunk>> done_;
  std::map<std::pair<int, int>, std::vector<Message>> sends_;     // [sender, receiver]
  std::map<std::pair<int, int>, std::vector<Message>> receives_;  // [sender, receiver]
};

std::string verdict_of_checker(const PipelineSchedule& schedule) {
  try {
    (void)check_schedule(schedule);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

/// Does one or two random things to a list.
class Spoiler {
 public:
  explicit Spoiler(std::uint32_t seed) : random_(seed) {}

  void spoil(PipelineSchedule& schedule) {
    spoil_once(schedule);
    if (below(4) == 0) spoil_once(schedule);
  }

 private:
  std::size_t below(std::size_t end) { return random_() % end; }

  void spoil_once(PipelineSchedule& schedule) {
    std::vector<Action>& list = schedule.actions[below(schedule.actions.size())];
    if (list.size() < 2) return;
    const std::size_t at = below(list.size());
    switch (below(7)) {
      case 0:
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      case 1:
        insert(list, below(list.size()), Action(list[at]));
        break;
      case 2:
        std::swap(list[at], list[(at + 1) % list.size()]);
        break;
      case 3:
        std::swap(list[at], list[below(list.size())]);
        break;
      case 4:
        std::swap(list[at], list[std::min(list.size() - 1, at + 1 + below(4))]);
        break;
      case 5: {  // to another rank
        std::vector<Action>& other = schedule.actions[below(schedule.actions.size())];
        const Action moved = list[at];
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(at));
        insert(other, below(other.size() + 1), moved);
        break;
      }
      default:
        retarget(list[at]);
        break;
    }
  }

  static void insert(std::vector<Action>& list, std::size_t at, const Action& action) {
    list.insert(list.begin() + static_cast<std::ptrdiff_t>(at), action);
  }

  void retarget(Action& action) {
    const std::int16_t wild[] = {-32768, -1, 0, 1, 2, 3, 4, 5, 7, 9, 32767};
    const std::int16_t value = wild[below(std::size(wild))];
    switch (below(6)) {
      case 0:
        action.kind = static_cast<ActionKind>(below(9));
        break;
      case 1:
        action.peer = value;
        break;
      case 2:
        action.chunk.stage = value;
        break;
      case 3:
        action.chunk.micro_batch = value;
        break;
      case 4:
        action.backward_chunk.stage = value;
        break;
      default:
        action.backward_chunk.micro_batch = value;
        break;
    }
  }

  std::mt19937 random_;
};

const std::vector<PipelineShape>& small_shapes() {
  using enum PipelineKind;
  static const std::vector<PipelineShape> shapes = {
      {.kind = one_f_one_b, .stages = 3, .micro_batches = 5},
      {.kind = zb1p, .stages = 3, .micro_batches = 4},
      {.kind = interleaved, .stages = 6, .micro_batches = 4, .stages_per_rank = 2},
      {.kind = interleaved, .stages = 3, .micro_batches = 2, .stages_per_rank = 3},
      {.kind = dualpipe, .stages = 4, .micro_batches = 8},
      {.kind = dualpipe, .stages = 2, .micro_batches = 4},
      {.kind = dualpipe_v, .stages = 6, .micro_batches = 6},
      {.kind = dualpipe_v, .stages = 2, .micro_batches = 3},
  };
  return shapes;
}

/// What the executor counts on the schedule as it is made.
std::vector<std::int64_t> counted_in_flight(const PipelineSchedule& schedule) {
  constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();
  QueueExecutor executor(schedule, std::vector<std::int64_t>(schedule.actions.size(), kNoLimit), 1);
  EXPECT_TRUE(executor.runs());
  return executor.most_in_flight();
}

TEST(ScheduleFuzzTest, TheExecutorRunsWhatIsMade) {
  for (const PipelineShape& shape : small_shapes()) {
    const std::vector<std::int64_t> counted = counted_in_flight(make_schedule(shape));
    for (std::int32_t rank = 0; rank < shape.ranks(); ++rank)
      EXPECT_EQ(counted[static_cast<std::size_t>(rank)], most_in_flight(shape, rank));
  }
}

TEST(ScheduleFuzzTest, TheCheckerRefusesExactlyWhatCannotRun) {
  constexpr std::uint32_t kTrials = 500;
  int refused = 0;
  int harmless = 0;
  for (const PipelineShape& shape : small_shapes()) {
    const PipelineSchedule whole = make_schedule(shape);
    const std::vector<std::int64_t> limits = counted_in_flight(whole);
    for (std::uint32_t trial = 0; trial < kTrials; ++trial) {
      PipelineSchedule spoilt = whole;
      Spoiler(trial).spoil(spoilt);
      const std::string verdict = verdict_of_checker(spoilt);
      const bool runs = QueueExecutor(spoilt, limits, trial).runs();
      ASSERT_EQ(verdict.empty(), runs)
          << pipeline_kind_title(shape.kind) << ", trial " << trial << ": " << verdict;
      ++(runs ? harmless : refused);
    }
  }
  EXPECT_GT(refused, 1000);
  EXPECT_GT(harmless, 100);
}

}  // namespace
}  // namespace fathom
