#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/expert_counts.h"
#include "model/weights.h"

namespace fathom {

/// What one pass over a model must do at the least, whatever the program: read each weight that it touches
/// once, and multiply.
struct PassCost {
  double weight_bytes = 0;          // without the embedding, of which a few rows are read
  double weight_operations = 0;     // two a multiply-add
  double attention_operations = 0;  // of the form of MLA that takes fewer
  double cache_bytes = 0;
  double experts_touched = 0;  // distinct ones, mean over the MoE layers
};

/// @param counts          tokens of this pass by layer and expert
/// @param tokens          new ones, of all sequences together
/// @param sequences       that they are of, as many tokens each
/// @param depth           tokens in each sequence's cache before
/// @param cached_bytes    that a token has in one layer's cache
PassCost pass_cost(const ModelConfig& config, const TransformerWeights& weights, const ExpertCounts& counts,
                   std::int64_t tokens, std::int64_t sequences, std::int64_t depth, double cached_bytes);

/// Bytes of a linear map's weights, with their scales; 0 where it is undefined.
double map_bytes(const LinearWeight& map);

/// Bytes of weights that a block reads.
struct BlockCost {
  double shared_bytes = 0;  // for any tokens
  double expert_bytes = 0;  // for an expert that one of them is sent to; 0: a dense block
};
BlockCost block_cost(const BlockWeights& block);

}  // namespace fathom
