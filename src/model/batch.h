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
  /// [tokens] or empty: then the main loss is the sum of the targets' cross-entropies times these, which may
  /// be below 0, instead of their mean. So what is minimised may be any function of the targets'
  /// log-probabilities: minus its derivative by each is that one's weight. The MTP modules' losses stay
  /// means.
  std::vector<float> weights = {};
};

}  // namespace fathom
