#pragma once

#include <cstdint>
#include <string_view>

#include "model/weights.h"

namespace fathom {

enum class OptimizerKind : std::uint8_t {
  adamw,
  muon,  // for the matrices of linear maps and experts; AdamW for embedding, head, router, norms and biases
};

/// As a config has it: "adamw", "muon".
std::string_view optimizer_name(OptimizerKind kind);

/// Whether Muon, rather than AdamW, moves parameters of that kind.
bool is_muons(OptimizerKind optimizer, ParameterKind kind);

}  // namespace fathom
