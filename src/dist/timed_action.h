#pragma once

#include "dist/pipeline_schedule.h"

namespace fathom {

/// When a rank does something, or did it; in any unit, from any beginning.
struct TimedAction {
  Action action;
  double begin = 0;
  double end = 0;
};

}  // namespace fathom
