#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>

#include "base/thread_pool.h"
#include "model/config.h"
#include "train/checkpoint.h"
#include "train/run_folder.h"
#include "train/snapshot.h"
#include "train/training_config.h"

namespace fathom {

/// Writes checkpoints beside the training that goes on.
///
/// A save has two parts, both on a thread of its own: it copies weights and moments to memory, then writes
/// the copy to disk. Forward and backward of the next step only read those, so training needs to wait for
/// nothing until it changes them, and then only for what is not copied yet, which all threads copy together.
/// One save is under way at most: the next waits for it.
///
/// Memory: a copy of all that is saved (12 bytes a parameter; 8 with BF16 moments) while a save is under way;
/// the block is kept for the next one.
class CheckpointSaver {
 public:
  /// Keeps references to all of them.
  CheckpointSaver(const RunFolder& folder, const ModelConfig& config, const TrainingConfig& training);
  /// Waits for the save under way; its error is lost.
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// Begins to save. From here on, `before_change` must be called before the tensors change.
  void begin(TrainedTensors tensors, const TrainingState& state);
  /// Saves on the calling thread, without a copy.
  void save(const TrainedTensors& tensors, const TrainingState& state);

  /// Returns when the tensors of the last `begin` may change.
  void before_change(ThreadPool& pool);
  /// Waits until nothing is under way.
  void wait();

  /// Each of the above throws the error of a save that failed in the background: `Error`, naming the file and
  /// the last good checkpoint. This does nothing else, and costs nothing.
  void check();

  /// Seconds that calls here have taken since the last time this was asked.
  double take_stall_seconds();

 private:
  class Stall;

  void join();

  const RunFolder& folder_;
  const ModelConfig& config_;
  const TrainingConfig& training_;
  std::unique_ptr<Snapshot> snapshot_;
  std::thread thread_;
  std::atomic<bool> finished_{true};
  std::exception_ptr error_;  // written by the thread before `finished_`
  std::int64_t step_ = 0;     // of the save under way
  double stall_ = 0;
};

}  // namespace fathom
