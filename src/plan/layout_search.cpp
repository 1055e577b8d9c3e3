#include "plan/layout_search.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/error.h"

namespace fathom {
namespace {

constexpr std::int32_t kMostPipeline = 64;
constexpr std::int32_t kMostChunks = 8;
constexpr std::int32_t kMostMicroBatch = 8;
constexpr std::int64_t kMostContext = 64;

struct PipelineChoice {
  PipelineKind kind;
  std::int32_t chunks;
};

std::vector<PipelineChoice> pipelines_of(std::int32_t ranks) {
  if (ranks == 1) return {{PipelineKind::one_f_one_b, 1}};
  std::vector<PipelineChoice> choices;
  for (const PipelineKind kind : kPipelineKinds) {
    if (kind != PipelineKind::interleaved) {
      choices.push_back({kind, 1});
      continue;
    }
    for (std::int32_t chunks = 2; chunks <= kMostChunks; ++chunks) choices.push_back({kind, chunks});
  }
  return choices;
}

std::vector<std::int32_t> divisors(std::int64_t number, std::int64_t most) {
  std::vector<std::int32_t> found;
  for (std::int64_t i = 1; i <= std::min(number, most); ++i)
    if (number % i == 0) found.push_back(static_cast<std::int32_t>(i));
  return found;
}

struct TokenSplit {
  std::int32_t tp;
  std::int32_t cp;
  std::int32_t micro_batch;
};

/// Ways to share micro-batches out over so many devices or fewer.
std::vector<TokenSplit> token_splits(const TrainingTask& task, std::int64_t devices,
                                     const SearchLimits& limits) {
  std::vector<TokenSplit> splits;
  for (const std::int32_t tp : divisors(std::gcd(devices, task.model.num_attention_heads), limits.tp))
    for (const std::int32_t cp : divisors(std::gcd(devices / tp, task.sequence_length / 2), kMostContext))
      for (std::int32_t micro_batch = 1; micro_batch <= (cp > 1 ? 1 : kMostMicroBatch); ++micro_batch)
        if (tp * cp == 1 || micro_batch * task.sequence_length >= limits.tokens * tp * cp)
          splits.push_back({tp, cp, micro_batch});
  return splits;
}

/// Where the layout is possible: outlines refuse those that are not.
std::optional<TrainingEstimate> possible_outline(const TrainingEstimator& estimator,
                                                 const TrainingLayout& layout) {
  try {
    return estimator.outline(layout);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::vector<TrainingLayout> possible_layouts(const TrainingTask& task, std::int64_t devices,
                                             const SearchLimits& limits) {
  std::vector<TrainingLayout> layouts;
  const std::int64_t experts = std::max<std::int64_t>(1, task.model.n_routed_experts);
  for (const std::int32_t pp : divisors(devices, kMostPipeline)) {
    const std::int64_t stage_ranks = devices / pp;
    const std::vector<std::int32_t> expert_ranks = divisors(std::gcd(stage_ranks, experts), experts);
    for (const auto& [tp, cp, micro_batch] : token_splits(task, stage_ranks, limits)) {
      const std::int64_t dp = stage_ranks / (tp * cp);
      if (task.batch % (dp * micro_batch) != 0) continue;
      for (const std::int32_t ep : expert_ranks)
        for (const PipelineChoice& pipeline : pipelines_of(pp))
          for (const Recompute recompute : {Recompute::selective, Recompute::full})
            layouts.push_back({.schedule = pipeline.kind,
                               .pp = pp,
                               .chunks = pipeline.chunks,
                               .tp = tp,
                               .cp = cp,
                               .ep = ep,
                               .dp = static_cast<std::int32_t>(dp),
                               .micro_batch = micro_batch,
                               .recompute = recompute});
    }
  }
  return layouts;
}

LayoutSearch search_layouts(const TrainingEstimator& estimator, std::int64_t devices, std::size_t keep,
                            std::int64_t least_tokens) {
  struct Candidate {
    double least_seconds;
    TrainingEstimate outline;
  };
  require_joined(estimator.hardware(), devices);
  LayoutSearch search;
  std::vector<Candidate> candidates;
  const SearchLimits limits = {.tp = estimator.hardware().devices_per_node, .tokens = least_tokens};
  for (const TrainingLayout& layout : possible_layouts(estimator.task(), devices, limits)) {
    const std::optional<TrainingEstimate> outline = possible_outline(estimator, layout);
    if (!outline) continue;
    ++search.layouts;
    if (outline->fits()) candidates.push_back({estimator.least_seconds(*outline), *outline});
  }
  search.fitting = static_cast<std::int64_t>(candidates.size());
  std::ranges::stable_sort(candidates, {}, &Candidate::least_seconds);
  for (Candidate& candidate : candidates) {
    if (search.best.size() == keep && candidate.least_seconds >= search.best.back().step_seconds()) break;
    estimator.simulate(candidate.outline);
    ++search.simulated;
    const auto place = std::ranges::upper_bound(search.best, candidate.outline.step_seconds(), {},
                                                &TrainingEstimate::step_seconds);
    search.best.insert(place, candidate.outline);
    if (search.best.size() > keep) search.best.pop_back();
  }
  return search;
}

}  // namespace fathom
