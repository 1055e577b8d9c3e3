#pragma once

#include <cstdint>
#include <vector>

#include "dist/pipeline_schedule.h"
#include "model/config.h"
#include "model/stage.h"

namespace fathom {

/// Cuts a model's layers into the stages of a pipeline, each of at least one layer. A layer costs what it
/// multiplies per token: the matrix parameters that work on it, of the routed experts those that are chosen.
/// The last one also has the cost of the head, once for the main loss and once for each MTP module, and that
/// of the modules; the embedding, a look-up, costs nothing. Of all cuts the costliest stage's is the cheapest
/// that there can be, and of those it is the most even one (dist/stage_split.h).
/// Throws `Error` where there are fewer layers than stages.
std::vector<LayerRun> split_layers(const ModelConfig& config, std::int32_t stages);

/// The runs of layers that each rank of a pipeline holds, from the first. [rank][...]
std::vector<std::vector<LayerRun>> layers_of_ranks(const ModelConfig& config, const PipelineShape& shape);

}  // namespace fathom
