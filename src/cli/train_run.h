#pragma once

#include <optional>

#include "dist/communicator.h"
#include "train/trainer.h"

namespace fathom::cli {

/// Trains until the run ends or is interrupted.
/// @return  of the first process; nothing on others
std::optional<TrainResult> train_until_interrupted(TrainOptions& options, Communicator& ranks,
                                                   ThreadPool& pool);

/// Says where the model and the report are, and how a run goes on that was stopped.
void announce_end(const TrainOptions& options, const TrainResult& result);

}  // namespace fathom::cli
