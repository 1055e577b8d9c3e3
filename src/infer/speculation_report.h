#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "infer/speculation_stats.h"

namespace fathom {

/// How many of the drafts at each place were accepted, in percent: "81 64".
/// @param unit     behind each number
/// @param between  numbers
std::string accepted_by_place(const SpeculationStats& stats, std::string_view unit = "",
                              std::string_view between = " ");

/// What became of drafts: "drafts 96, 80 checked, 61 accepted (by place 81 %, 64 %); 1.90 tokens a pass".
std::string speculation_report_text(const SpeculationStats& stats);
OrderedJson speculation_report_json(const SpeculationStats& stats);

}  // namespace fathom
