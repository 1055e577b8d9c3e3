#pragma once

#include "base/thread_pool.h"
#include "model/adapter_file.h"
#include "model/config.h"
#include "model/weights.h"

namespace fathom {

/// Adds an adapter to the linear maps that it names, beside weights of any type, which stay as they are
/// (`LinearWeight::adapter`). Several add up.
/// @param scale  of what it adds: 1 as it was trained
/// Throws `Error` naming what has no such map in the model, or one of another shape: then it is most likely
/// an adapter of another model, and nothing has been added.
void add_adapter(const ModelConfig& config, TransformerWeights& weights, const AdapterFile& adapter,
                 double scale);

/// Makes the weights of maps that have adapters what they are with them, in f32, and takes the adapters away.
void merge_adapters(ThreadPool& pool, const ModelConfig& config, TransformerWeights& weights);

}  // namespace fathom
