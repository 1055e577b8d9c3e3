#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "train/optimizer.h"
#include "train/run_folder.h"
#include "train/training_config.h"
#include "train/weight_average.h"

namespace fathom {

/// Where a run stands, beside weights and moments. The order of the data is a function of the seed and of the
/// number of sequences served (train/batch_loader.h), so these are all the state there is.
struct TrainingState {
  std::int64_t step = 0;       // steps done
  std::int64_t sequences = 0;  // sequences served: the place in the data
  std::int64_t tokens = 0;     // targets trained on
  std::int64_t seed = 0;       // of the order of the data
  std::int64_t sequence_length = 0;
  std::uint64_t tokenizer_hash = 0;  // of the data
  std::int64_t train_tokens = 0;     // in the data
  /// `DataManifest::order_checksum`; checkpoints from before there were sources have none.
  std::optional<std::uint64_t> order_checksum = {};
  std::string optimizer = "adamw";  // `training.optimizer`
  std::filesystem::path data;       // the data folder, for messages and for resuming without --data
};

/// Tensors of a model's sizes, and what their names in a file begin with.
struct NamedWeights {
  std::string prefix;
  TransformerWeights weights;
};

/// What training changes: weights, and what the optimizer keeps beside them. What an optimizer does not keep
/// of a parameter is undefined there.
struct TrainedTensors {
  TransformerWeights weights;
  std::vector<NamedWeights> optimizer;
  std::optional<TransformerWeights> average;  // train/weight_average.h
};

/// Those of a run; shares their storage.
/// @param weights, moments, average  of all parameters (`Replicas::gather_all`, `gather_moments`)
TrainedTensors trained_tensors(const TransformerWeights& weights, const Moments& moments,
                               std::optional<TransformerWeights> average = std::nullopt);

/// All tensors that are defined, in a fixed order; they share storage.
std::vector<Tensor> list_tensors(const ModelConfig& config, TrainedTensors trained);
/// Puts others in their places.
/// @param tensors  in the order of `list_tensors`
void replace_tensors(const ModelConfig& config, TrainedTensors& trained, const std::vector<Tensor>& tensors);

/// Writes RUN/checkpoints/step-NNNNNN, a Hugging Face folder that `fathom run` takes as it is:
///
///     config.json, model.safetensors      model/save.h; weights as `training.checkpoint_dtype` says
///     tokenizer.json, ...                 from the data folder
///     optimizer.safetensors               first_moment.NAME, second_moment.NAME in their type, and in f32
///                                         master.NAME where the weights are stored narrower
///     average/                            where weights are averaged: these, as another such model folder
///     state.json                          `TrainingState`
///
/// Where weights are stored narrower, optimizer.safetensors has average.NAME as well.
///
/// It appears whole or not at all, and what was written goes away when it cannot be finished; then older ones
/// than the newest `keep_checkpoints` go.
/// Returns the folder.
std::filesystem::path save_checkpoint(const RunFolder& run, const ModelConfig& config,
                                      const TrainingConfig& training, const TrainedTensors& trained,
                                      const TrainingState& state);

/// Reads state.json of a checkpoint. Throws `Error` naming what is missing or impossible in it.
TrainingState load_training_state(const std::filesystem::path& checkpoint);

/// Reads a checkpoint's weights, to the bit as they were saved, f32 in one block.
/// Throws `Error` naming file and tensor when one is missing, damaged, or of another model than `config`.
/// @param kept  whether to have a parameter, all rows or none; default: all
TransformerWeights load_training_weights(const std::filesystem::path& checkpoint, const ModelConfig& config,
                                         const RowsKept& kept = {});

/// The same for a new run, whose `rope_scaling` may be another: that is how a model's context is extended
/// (train/context_extension.h). Says so in the log.
TransformerWeights load_initial_weights(const std::filesystem::path& model, const ModelConfig& config,
                                        const RowsKept& kept = {});

/// Reads a checkpoint's averaged weights, to the bit; none when it has none.
std::optional<TransformerWeights> load_average(const std::filesystem::path& checkpoint,
                                               const ModelConfig& config, const RowsKept& kept = {});

/// Reads a checkpoint's moments, which must be of the optimizer's kind (`TrainingState::optimizer`): those of
/// its shard, whatever number of ranks wrote them.
void load_moments(const std::filesystem::path& checkpoint, const ModelConfig& config, Optimizer& optimizer);

/// Throws `Error` naming the key when two models are not of the same sizes and kind.
/// @param where  what `other` is, for the message
void require_same_model(const ModelConfig& wanted, const ModelConfig& other, const std::string& where);

}  // namespace fathom
