#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "infer/pass_cost.h"
#include "model/context.h"
#include "model/latent_cache.h"
#include "model/transformer.h"

namespace fathom {

/// What this machine can do at most, measured with the pool's threads.
struct MachineSpeed {
  double bytes_per_second = 0;    // read from memory
  double integer_operations = 0;  // a second, of 8-bit codes
  double float_operations = 0;    // a second, in f32
};
MachineSpeed measure_machine(ThreadPool& pool);

/// One way to use a model: `tokens` new ones of each of `sequences`, behind `depth` cached ones each.
struct SpeedCase {
  std::int64_t tokens = 1;  // 1: decoding
  std::int64_t sequences = 1;
  std::int64_t depth = 0;
  LatentType cache_type = LatentType::f16;
};

struct SpeedResult {
  SpeedCase what;
  double seconds = 0;  // of the fastest pass, logits of each sequence's last token included
  double mean_seconds = 0;
  PassCost cost;         // of that pass
  MachineSpeed machine;  // in the same minute

  /// New tokens of a pass.
  [[nodiscard]] double tokens() const { return static_cast<double>(what.tokens * what.sequences); }
  [[nodiscard]] double tokens_per_second() const { return tokens() / seconds; }
  [[nodiscard]] double mean_tokens_per_second() const { return tokens() / mean_seconds; }
  /// The least time that the pass could take here: reading, or multiplying, whichever takes longer.
  /// @param integers  whether weights are multiplied as integers
  [[nodiscard]] double least_seconds(bool integers) const;
  [[nodiscard]] double most_tokens_per_second(bool integers) const {
    return tokens() / least_seconds(integers);
  }
};

/// Measures one case. Tokens are random, as experts must not all be the same.
/// @param weights  those of `model`
SpeedResult measure_speed(const Context& context, const Transformer& model, const TransformerWeights& weights,
                          const SpeedCase& what, int rounds);

}  // namespace fathom
