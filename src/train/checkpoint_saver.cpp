#include "train/checkpoint_saver.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "base/progress.h"

namespace fathom {
namespace {

/// Lets threads that train go first where there are no more cores than they need.
void lower_priority_of_this_thread() {
  constexpr int kNice = 10;
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);  // a wish
}

}  // namespace

/// Adds the time of a call to the sum.
class CheckpointSaver::Stall {
 public:
  explicit Stall(double& sum) : sum_(sum) {}
  ~Stall() { sum_ += monotonic_seconds() - begin_; }
  Stall(const Stall&) = delete;
  Stall& operator=(const Stall&) = delete;

 private:
  double& sum_;
  double begin_ = monotonic_seconds();
};

CheckpointSaver::CheckpointSaver(const RunFolder& folder, const ModelConfig& config,
                                 const TrainingConfig& training)
    : folder_(folder), config_(config), training_(training) {}

CheckpointSaver::~CheckpointSaver() {
  join();
}

void CheckpointSaver::begin(TrainedTensors tensors, const TrainingState& state) {
  const Stall stall(stall_);
  join();
  check();
  snapshot_ = std::make_unique<Snapshot>(list_tensors(config_, tensors));
  replace_tensors(config_, tensors, snapshot_->copies());
  step_ = state.step;
  finished_ = false;
  thread_ = std::thread([this, copies = std::move(tensors), state] {
    snapshot_->copy();
    snapshot_->wait();
    lower_priority_of_this_thread();  // nobody waits for the rest
    try {
      save_checkpoint(folder_, config_, training_, copies, state);
    } catch (...) {
      error_ = std::current_exception();
    }
    finished_.store(true, std::memory_order_release);
  });
}

void CheckpointSaver::save(const TrainedTensors& tensors, const TrainingState& state) {
  const Stall stall(stall_);
  join();
  check();
  save_checkpoint(folder_, config_, training_, tensors, state);
}

void CheckpointSaver::before_change(ThreadPool& pool) {
  if (!snapshot_ || snapshot_->done()) return;
  const Stall stall(stall_);
  pool.parallel_for(pool.threads(), [&](std::size_t) { snapshot_->copy(); });
  snapshot_->wait();
}

void CheckpointSaver::wait() {
  const Stall stall(stall_);
  join();
  check();
}

void CheckpointSaver::check() {
  if (!finished_.load(std::memory_order_acquire)) return;
  join();
  if (!error_) return;
  try {
    std::rethrow_exception(std::exchange(error_, nullptr));
  } catch (const std::exception& error) {
    const std::optional<std::int64_t> newest = folder_.newest_checkpoint();
    fail("{}; the checkpoint of step {} was not written: {}", error.what(), step_,
         newest ? fmt::format("the last good one is {}", folder_.checkpoint(*newest).string())
                : std::string("there is none yet"));
  }
}

double CheckpointSaver::take_stall_seconds() {
  return std::exchange(stall_, 0.0);
}

void CheckpointSaver::join() {
  if (!thread_.joinable()) return;
  thread_.join();
  snapshot_.reset();
}

}  // namespace fathom
