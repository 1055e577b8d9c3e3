#include "model/streamed_experts.h"

#include <algorithm>

#include "model/expert_pack.h"

namespace fathom {

std::vector<StreamedExperts::Reading::Expert> StreamedExperts::Reading::next_wave() {
  std::vector<Expert> wave;
  for (const ExpertCache::Use::Expert& expert : use_->next())
    wave.push_back({static_cast<std::size_t>(expert.expert), expert_in_memory(*group_, expert.record)});
  return wave;
}

StreamedExperts::Reading StreamedExperts::read(const ExpertGroups& groups) const {
  std::vector<std::int64_t> experts;
  std::vector<std::int64_t> rows;
  for (std::size_t e = 0; e + 1 < groups.offsets.size(); ++e) {
    if (groups.offsets[e] == groups.offsets[e + 1]) continue;
    experts.push_back(static_cast<std::int64_t>(e));
    rows.push_back(groups.offsets[e + 1] - groups.offsets[e]);
  }
  Reading reading;
  reading.group_ = &cache_->pack().groups()[group_];
  reading.use_ = cache_->use(group_, groups.tokens(), experts, rows);
  return reading;
}

void StreamedExperts::expect(const Routing& routing) const {
  std::vector<std::int64_t> experts;
  for (std::size_t e = 0; e < routing.load.size(); ++e)
    if (routing.load[e] > 0) experts.push_back(static_cast<std::int64_t>(e));
  std::ranges::stable_sort(experts, std::ranges::greater{},
                           [&](std::int64_t e) { return routing.load[static_cast<std::size_t>(e)]; });
  cache_->expect(group_, experts);
}

void stream_experts(const std::shared_ptr<ExpertCache>& cache, TransformerWeights& weights) {
  const auto stream = [&](std::int64_t layer, MoeWeights& moe) {
    const RecordGroup* group = cache->pack().find(layer);
    if (group == nullptr || moe.experts.empty()) return;
    const auto index = static_cast<std::size_t>(group - cache->pack().groups().data());
    moe.streamed = std::make_shared<const StreamedExperts>(cache, index);
  };
  const auto layers = static_cast<std::int64_t>(weights.layers.size());
  for (std::int64_t i = 0; i < layers; ++i) stream(i, weights.layers[static_cast<std::size_t>(i)].moe);
  for (std::size_t k = 0; k < weights.mtp.size(); ++k)
    stream(layers + static_cast<std::int64_t>(k), weights.mtp[k].block.moe);
}

}  // namespace fathom
