#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/thread_pool.h"
#include "dist/communicator.h"
#include "model/config.h"
#include "train/data_manifest.h"
#include "train/metrics.h"
#include "train/parallel_layout.h"
#include "train/training_config.h"

namespace fathom {

struct TrainOptions {
  ModelConfig model;
  TrainingConfig training;
  std::filesystem::path data;                 // made by `fathom prepare`
  std::filesystem::path output;               // the run folder
  std::optional<std::filesystem::path> init;  // a model folder to begin with; else random weights
  ParallelOptions parallel;                   // how the ranks share the model out
  bool resume = false;                        // continue from the newest checkpoint, if there is one
  std::optional<std::int64_t> stop_at;        // end there with a checkpoint, though the schedule goes on
  std::function<void()> on_start;             // called when all is found to fit, before the first step
  const std::atomic<bool>* stop = nullptr;    // when raised, end after the step under way with a checkpoint
};

/// The config that a run trains: the model's, with the tokens that begin and end a text in the data. Throws
/// `Error` where model, data and training do not fit together.
ModelConfig config_for_run(const TrainOptions& options, const DataManifest& manifest);

struct TrainResult {
  std::int64_t step = 0;  // steps done
  bool complete = false;  // all steps of the config are
  std::filesystem::path checkpoint;
  std::optional<EvalMetrics> evaluation;  // the last one
};

/// Trains a model, with progress on standard error and all else in the run folder (train/run_folder.h).
///
/// The weights after step n are a function of config, data and seed: they do not depend on the number of
/// threads, nor on how often the run was stopped and resumed.
/// Memory: weights and gradients in f32, two moments in f32 or BF16 and, in FP8, the weights' codes, all of
/// the size of the model, and the activations of one micro-batch; one array more for averaged weights, and
/// while a checkpoint is written, a copy of what is in it (train/checkpoint_saver.h). Throws `Error` when the
/// run folder holds a run and `resume` is false, when the data is not what a resumed run was trained on, and,
/// naming the last good checkpoint, when loss or gradient are not finite or spike (train/spike_detector.h).
TrainResult train(const TrainOptions& options, ThreadPool& pool);

/// One of several ranks that train one model together; all of them call this with the same options, and see
/// the same folders. Each takes its share of a step's sequences, sums of gradients and weights' updates
/// (train/replicas.h); the first one alone writes, shows progress, and heeds `on_start` and `stop`. The
/// weights after step n are the same in every run with as many ranks, laid out as these, and but for the
/// rounding of sums those of one process (with shared out experts in BF16 and FP8: and of what travels back
/// in BF16; with shared out sequences: and of the narrow formats, which other sums are rounded to); a run may
/// be resumed with other ranks. The node that a rank is on decides how tokens go to their experts
/// (dist/expert_exchange.h). Memory of each: as above, but of the moments a part, of what its place in the
/// layout does not hold nothing, and in a pipeline the activations of as many micro-batches as its schedule
/// has in flight; on the first one for a while, with each checkpoint, all that is in it. An error of one rank
/// is thrown there alone: the caller has to end the others.
TrainResult train(const TrainOptions& options, Communicator& ranks, ThreadPool& pool);

}  // namespace fathom
