#pragma once

#include <string>

#include "base/json.h"
#include "infer/speculation_stats.h"

namespace fathom {

/// What became of drafts: "drafts 96, 80 checked, 61 accepted (by place 81 %, 64 %); 1.90 tokens a pass".
std::string speculation_report_text(const SpeculationStats& stats);
OrderedJson speculation_report_json(const SpeculationStats& stats);

}  // namespace fathom
