#pragma once

#include <string>

#include "base/json.h"
#include "model/expert_cache.h"

namespace fathom {

/// What reading experts did: "experts 41.2 % in memory, 30.1 % read ahead (74 % of guesses right), 28.7 %
/// when used; read 1.2 GiB at 0.90 GB/s, waited 1.2 s".
std::string expert_report_text(const ExpertCacheStats& stats);
OrderedJson expert_report_json(const ExpertCacheStats& stats);

}  // namespace fathom
