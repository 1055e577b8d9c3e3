#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "model/config.h"
#include "numerics/dtype.h"
#include "numerics/precision.h"
#include "train/optimizer.h"
#include "train/schedule.h"

namespace fathom {

/// What keeps the experts' loads even (model/balance.h). The comparisons are those of arXiv 2408.15664.
enum class Balance : std::uint8_t {
  bias,      // the selection bias, and the config's auxiliary loss (sequence-wise by default) beside it
  aux_loss,  // the classical auxiliary loss of the whole batch alone
  none,
};

/// The `training` section of a config file: how to train, beside what to train. `describe_training_keys` says
/// what each key means; every one has a default.
struct TrainingConfig {
  std::int64_t sequence_length = 512;
  std::int64_t batch_size = 16;
  std::int64_t initial_batch_size = 0;  // 0: no ramp
  std::optional<RunPosition> batch_ramp_until;
  std::int64_t micro_batch_size = 0;  // 0: the whole batch
  std::int64_t steps = 1000;

  Schedule learning_rate = 1e-3;  // a number is the peak, from which the next three make a schedule
  std::optional<double> final_learning_rate_factor;
  std::optional<std::int64_t> warmup_steps;
  std::optional<std::int64_t> decay_steps;
  OptimizerKind optimizer = OptimizerKind::adamw;
  double muon_momentum = 0.95;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double gradient_clip = 1.0;

  Schedule mtp_loss_factor = 0.3;
  Balance balance = Balance::bias;
  Schedule router_bias_update_rate = 0.001;
  std::optional<double> balance_loss_factor;
  double aux_loss_factor = 0.001;

  double ema_decay = 0;  // 0: no average is kept
  double spike_threshold = 10;
  std::int64_t spike_steps = 10;

  std::int64_t seed = 1;
  std::int64_t eval_interval = 100;
  std::int64_t eval_tokens = 0;    // 0: the whole held-out split
  std::int64_t needle_length = 0;  // 0: none
  std::int64_t checkpoint_interval = 500;
  std::int64_t keep_checkpoints = 2;
  Precision precision = Precision::f32;
  std::optional<DType> checkpoint_dtype;

  /// What checkpoints' weights are stored in: as asked, or as the precision multiplies them.
  [[nodiscard]] DType stored_dtype() const;
  /// Most sequences in one forward pass.
  [[nodiscard]] std::int64_t micro_batch() const {
    return micro_batch_size > 0 ? micro_batch_size : batch_size;
  }
};

/// The factor of the balance loss beside the bias, alpha: `balance_loss_factor` where it is given, else the
/// model's own `aux_loss_alpha`, else the report's 0.0001 (released V3 configs have none, which must not turn
/// it off). With `Balance::aux_loss` it is `aux_loss_factor`, with `Balance::none` zero.
double balance_factor(const TrainingConfig& training, const ModelConfig& model);

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
