#pragma once

#include <filesystem>
#include <string>

#include "model/config.h"
#include "model/expert_counts.h"

namespace fathom {

// How many tokens went to each expert, as JSON, by which `place_experts` places them:
//
//     {"n_routed_experts": 256, "tokens_of_expert": {"3": [120, 7, ...], "4": [...]}}
//
// with an entry for each MoE layer of the main model, named by its number.

std::string expert_counts_text(const ModelConfig& config, const ExpertCounts& counts);

/// Throws `Error` naming the file and what is wrong where it is not of such a model.
ExpertCounts read_expert_counts(const std::filesystem::path& file, const ModelConfig& config);

}  // namespace fathom
