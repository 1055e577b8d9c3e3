#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "train/data_manifest.h"
#include "train/evaluation.h"
#include "train/sequence_source.h"
#include "train/training_config.h"

namespace fathom {

/// An open data folder, of long text or of samples, as a run takes it.
class TrainingData {
 public:
  virtual ~TrainingData() = default;
  TrainingData() = default;
  TrainingData(const TrainingData&) = delete;
  TrainingData& operator=(const TrainingData&) = delete;

  /// What is learned.
  [[nodiscard]] virtual const SequenceSource& train() const = 0;
  /// What is held out; there may be none.
  [[nodiscard]] virtual std::vector<HeldOutText> held_out() const = 0;
  /// Says in the log what a run makes of the data. @param places  that it takes of the order
  virtual void announce(std::int64_t places) const = 0;
};

/// Throws `Error` where shards are damaged or too few, naming them.
std::unique_ptr<TrainingData> open_training_data(const std::filesystem::path& folder,
                                                 const DataManifest& manifest, const TrainingConfig& training,
                                                 ThreadPool& pool);

}  // namespace fathom
