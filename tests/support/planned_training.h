#pragma once

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "plan/hardware.h"
#include "plan/named_file.h"
#include "plan/training_layout.h"

namespace fathom::test {

/// A model that is built in, as it was pre-trained by the technical report: 15,360 sequences of 4,096 tokens.
inline TrainingTask planned_task(const char* model) {
  const NamedText file = read_named_text("models", model);
  TrainingTask task;
  task.model = model_config_from_json(parse_json(file.text, file.where), file.where);
  return task;
}

/// The layout of the technical report, section 3.2, on 2,048 devices.
inline TrainingLayout report_layout() {
  return {.schedule = PipelineKind::dualpipe, .pp = 16, .ep = 64, .dp = 128};
}

}  // namespace fathom::test
