#pragma once

#include <cstdint>
#include <vector>

#include "model/sequences.h"

namespace fathom {

/// Tokens to learn from.
struct Batch {
  // Of the whole sequences, also where the rows of `sequences` are a part of them.
  std::vector<std::int32_t> tokens;   // [tokens]
  std::vector<std::int32_t> targets;  // [tokens], the token that follows each; -1 where there is no loss
  Sequences sequences;
};

}  // namespace fathom
