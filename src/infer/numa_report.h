#pragma once

#include <string>

#include "base/json.h"
#include "infer/numa_plan.h"

namespace fathom {

/// A plan as a table, a line for each node, with what is to be known about it below; ends with a line break.
std::string numa_plan_text(const NumaPlan& plan);
OrderedJson numa_plan_json(const NumaPlan& plan);

}  // namespace fathom
