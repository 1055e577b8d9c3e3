#pragma once

#include <string>

#include "base/json.h"
#include "infer/numa_plan.h"

namespace fathom {

/// A plan as a table, a line for each node, with what is to be known about it below; ends with a line break.
std::string numa_plan_text(const NumaPlan& plan);
/// "numa distribute: 16 threads and 189.50 GB on node 0, 16 threads and 189.50 GB on node 1".
std::string numa_plan_line(const NumaPlan& plan);
OrderedJson numa_plan_json(const NumaPlan& plan);

}  // namespace fathom
