#include "infer/speculation_bound.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>

#include "base/error.h"
#include "infer/pass_cost.h"
#include "model/latent_cache.h"

namespace fathom {
namespace {

/// `values` at a place between two entries, the first of which is at 1.
double entry_at(std::span<const double> values, double place) {
  place = std::clamp(place, 1.0, static_cast<double>(values.size()));
  const auto below = static_cast<std::size_t>(place);
  const double part = place - std::floor(place);
  return part > 0 ? values[below - 1] + part * (values[below] - values[below - 1]) : values[below - 1];
}

}  // namespace

StepReads measure_step_reads(const Context& context, const Transformer& model,
                             const TransformerWeights& weights,
                             std::span<const std::vector<std::int32_t>> texts, std::int64_t begin,
                             std::int64_t most) {
  constexpr std::int64_t kSteps = 24;  // of each length
  const ModelConfig& config = model.config();
  std::int64_t length = begin + kSteps * most;
  for (const std::vector<std::int32_t>& text : texts)
    length = std::min(length, static_cast<std::int64_t>(text.size()));
  require(length > begin && most >= 1, "texts of {} tokens, to be read in steps behind {}", length, begin);
  std::vector<std::unique_ptr<LatentCache>> caches;
  std::vector<LatentCache*> places;
  for (const std::vector<std::int32_t>& text : texts) {
    caches.push_back(std::make_unique<LatentCache>(config, length));
    places.push_back(caches.back().get());
    model.forward_cached(context, std::span(text).first(static_cast<std::size_t>(begin)), *caches.back());
  }
  const auto count = static_cast<std::int64_t>(texts.size());
  StepReads reads;
  for (std::int64_t n = 1; n <= std::min(most, length - begin); ++n) {
    for (LatentCache* cache : places) cache->truncate(begin);
    const Sequences sequences = Sequences::uniform(count, n);
    double experts = 0;
    double bytes = 0;
    std::int64_t steps = 0;
    for (std::int64_t at = begin; at + n <= length && steps < kSteps; at += n, ++steps) {
      std::vector<std::int32_t> tokens;
      for (const std::vector<std::int32_t>& text : texts)
        tokens.insert(tokens.end(), text.begin() + at, text.begin() + at + n);
      ExpertCounts counts;
      model.forward_cached(context, tokens, {sequences, places}, &counts);
      const PassCost cost = pass_cost(config, weights, counts, count * n, count, at, 0.0);
      experts += cost.experts_touched;
      bytes += cost.weight_bytes;
    }
    reads.experts.push_back(experts / static_cast<double>(steps));
    reads.weight_bytes.push_back(bytes / static_cast<double>(steps));
  }
  return reads;
}

DraftReads mtp_draft_reads(const TransformerWeights& weights) {
  require(!weights.mtp.empty(), "the model has no MTP module to draft with");
  const MtpWeights& module = weights.mtp.front();
  const BlockCost block = block_cost(module.block);
  return {block.shared_bytes + map_bytes(module.eh_proj) + map_bytes(weights.lm_head), block.expert_bytes};
}

SpeculationBound speculation_bound(std::span<const double> chain, const StepReads& steps,
                                   const DraftReads& drafts) {
  SpeculationBound bound;
  double tokens = 1;
  for (std::size_t k = 1; k <= chain.size() && k < steps.weight_bytes.size(); ++k) {
    tokens += chain[k - 1];
    const double again = static_cast<double>(k - 1);
    const double drafting = static_cast<double>(k) * drafts.shared +
                            drafts.expert * (entry_at(steps.experts, tokens) + again * steps.experts.front());
    const double speedup = tokens * steps.weight_bytes.front() / (steps.weight_bytes[k] + drafting);
    if (speedup > bound.speedup) bound = {speedup, static_cast<std::int64_t>(k)};
  }
  return bound;
}

}  // namespace fathom
