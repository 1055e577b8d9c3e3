#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "model/transformer.h"
#include "numerics/dtype.h"
#include "train/schedule.h"

namespace fathom {

/// The `training` section of a config file: how to train, beside what to train. `describe_training_keys` says
/// what each key means; every one has a default.
struct TrainingConfig {
  std::int64_t sequence_length = 512;
  std::int64_t batch_size = 16;
  std::int64_t micro_batch_size = 0;  // 0: the whole batch
  std::int64_t steps = 1000;

  double learning_rate = 1e-3;
  double final_learning_rate_factor = 0.1;
  std::optional<std::int64_t> warmup_steps;
  std::optional<std::int64_t> decay_steps;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double gradient_clip = 1.0;

  double mtp_loss_factor = 0.3;
  double balance_loss_factor = 0.0001;
  double router_bias_update_rate = 0.001;

  std::int64_t seed = 1;
  std::int64_t eval_interval = 100;
  std::int64_t eval_tokens = 0;  // 0: the whole held-out split
  std::int64_t checkpoint_interval = 500;
  std::int64_t keep_checkpoints = 2;
  DType checkpoint_dtype = DType::f32;

  [[nodiscard]] LearningRateSchedule schedule() const;
  [[nodiscard]] LossFactors loss_factors() const { return {mtp_loss_factor, balance_loss_factor}; }
  /// Sequences in one forward pass.
  [[nodiscard]] std::int64_t micro_batch() const {
    return micro_batch_size > 0 ? micro_batch_size : batch_size;
  }
};

/// Reads the `training` member of a whole config file (absent: all defaults). Throws `Error` naming the key
/// when it is unknown (with the nearest known one), of the wrong type, out of range, or at odds with another.
/// @param where  names the file in messages
TrainingConfig training_config_from_json(const Json& config, std::string_view where);

/// All keys with their values, as the `training` member of a config file.
OrderedJson training_config_to_json(const TrainingConfig& config);

/// Changes one value of a config file: "training.learning_rate=0.002", or "hidden_size=256" for a key of the
/// model. The value is JSON; a bare word is taken as a string. Throws `UsageError` when it is no assignment.
void apply_override(Json& config, std::string_view assignment);

/// One line per key: name, default, meaning. For `--help`.
std::string describe_training_keys();

}  // namespace fathom
