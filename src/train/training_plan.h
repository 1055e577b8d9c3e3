#pragma once

#include <cstdint>
#include <string_view>

#include "train/batch_plan.h"
#include "train/schedule.h"
#include "train/training_config.h"

namespace fathom {

/// What changes over a run, by step: a function of the config alone.
class TrainingPlan {
 public:
  /// Throws `Error` when schedules do not fit the run or each other.
  /// @param where  names the config in messages
  TrainingPlan(const TrainingConfig& training, std::string_view where);

  struct Step {
    std::int64_t batch_size = 0;         // sequences
    double learning_rate = 0;            // of AdamW
    double mtp_loss_factor = 0;          // lambda
    double router_bias_update_rate = 0;  // gamma
  };
  /// Of the step that moves weights from `step` to `step + 1`.
  [[nodiscard]] Step at(std::int64_t step) const;
  [[nodiscard]] const BatchPlan& batches() const { return batches_; }

 private:
  BatchPlan batches_;
  StepSchedule learning_rate_;
  StepSchedule mtp_loss_factor_;
  StepSchedule router_bias_update_rate_;
};

}  // namespace fathom
