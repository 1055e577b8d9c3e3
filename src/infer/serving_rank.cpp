#include "infer/serving_rank.h"

#include <span>

#include "base/error.h"
#include "dist/collectives.h"
#include "infer/answer_builder.h"
#include "infer/group_member.h"
#include "model/moe_layers.h"

namespace fathom {
namespace {

std::unique_ptr<PlacedExperts> place_in_group(Communicator& group, const ModelConfig& config,
                                              const PlacementOptions& placement) {
  if (group.size() == 1 || moe_layers_before(config, config.num_hidden_layers) == 0) return nullptr;
  return std::make_unique<PlacedExperts>(group, config, placement.redundant_experts, placement.counts);
}

}  // namespace

ServingLayout serving_layout(int ranks, int prefill) {
  if (prefill == 0) return {{0, ranks}, {0, ranks}};
  require(prefill > 0 && prefill < ranks,
          "{} processes that only read prompts leave none of {} to go on: start more with `mpirun -n`",
          prefill, ranks);
  return {{0, prefill}, {prefill, ranks}};
}

ServingRank::ServingRank(ThreadPool& pool, const Transformer& model, const Tokenizer& tokenizer,
                         Communicator& job, const ServingLayout& layout, const PlacementOptions& placement,
                         const CacheOptions& cache)
    : config_(model.config()),
      job_(job),
      group_(job.split(layout.group_of(job.rank()).begin, 0)),
      experts_(place_in_group(*group_, config_, placement)),
      runner_(pool, model, job, experts_.get(), vocabulary_with_text(model, tokenizer), cache) {}

void ServingRank::follow() {
  GroupMember(job_, runner_).follow();
}

ExpertCounts ServingRank::all_expert_counts() {
  // All layers in one list: ranks that took no step have none.
  const std::size_t layers = moe_layers_before(config_, config_.num_hidden_layers);
  const auto experts = static_cast<std::size_t>(config_.n_routed_experts);
  ExpertCounts counts(layers, std::vector<std::int64_t>(experts));
  add_counts(runner_.expert_counts(), counts);
  for (std::vector<std::int64_t>& layer : counts) all_sum(job_, std::span(layer));
  return counts;
}

}  // namespace fathom
