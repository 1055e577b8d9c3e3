#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/transformer.h"
#include "model/weights.h"

namespace fathom {

/// What a step reads that takes several texts further, by how many tokens it reads of each of them: its first
/// entry is of a step without drafts.
struct StepReads {
  std::vector<double> experts;       // distinct ones in a layer, mean over layers and steps; no MoE: 0
  std::vector<double> weight_bytes;  // see `PassCost`
};

/// Counts it in passes over the texts themselves.
/// @param texts   that are read together
/// @param begin   tokens of each that are read before the first step; at least one must follow
/// @param most    tokens of each text in a step, at most
/// @param weights those of `model`
StepReads measure_step_reads(const Context& context, const Transformer& model,
                             const TransformerWeights& weights,
                             std::span<const std::vector<std::int32_t>> texts, std::int64_t begin,
                             std::int64_t most);

/// What drafts read, in bytes: each time what all texts share, and the experts that their rows are sent to.
struct DraftReads {
  double shared = 0;
  double expert = 0;  // one
};
/// Of an MTP module and the head behind it.
DraftReads mtp_draft_reads(const TransformerWeights& weights);

/// The most that drafts can speed decoding up where reading weights is what takes time, always as many of
/// them.
struct SpeculationBound {
  double speedup = 1;
  std::int64_t drafts = 0;  // of each text that reach it; 0: none pay
};

/// For k drafts a step reads what `steps` says of k + 1 tokens, and the drafts are read for one by one, of
/// all texts together; that yields 1 token and each draft whose chain is accepted. The best k bounds.
///
/// The drafter has to see each token of the step before, too: its first pass is sent to as many experts as
/// that many tokens are.
/// @param chain  [k] how likely the first k + 1 drafts are to be accepted all
SpeculationBound speculation_bound(std::span<const double> chain, const StepReads& steps,
                                   const DraftReads& drafts);

}  // namespace fathom
