#include "train/parameter_shards.h"

#include <algorithm>
#include <utility>

namespace fathom {
namespace {

std::int64_t width_of(const ParameterSpec& spec) {
  return element_count(spec.shape) / spec.shape.front();
}

}  // namespace

ParameterShards::ParameterShards(const ModelConfig& config, OptimizerKind optimizer, int ranks)
    : ranks_(ranks), offsets_(block_offsets(config)) {
  const std::vector<ParameterSpec> specs = parameter_specs(config);
  for (auto first = specs.begin(); first != specs.end();) {
    const auto end =
        std::find_if(first, specs.end(), [&](const ParameterSpec& s) { return s.layer != first->layer; });
    add_bucket(std::span(first, end), optimizer);
    first = end;
  }
}

void ParameterShards::add_bucket(std::span<const ParameterSpec> specs, OptimizerKind optimizer) {
  const std::int64_t begin = offsets_[specs.front().index];
  const std::int64_t end = offsets_[specs.back().index + 1];
  Bucket bucket{specs.front().layer, {static_cast<std::size_t>(begin)}};
  for (int r = 1; r < ranks_; ++r) {
    // Without overflow: (end - begin) · r / ranks.
    const std::int64_t fair = begin + (end - begin) / ranks_ * r + (end - begin) % ranks_ * r / ranks_;
    bucket.bounds.push_back(static_cast<std::size_t>(cut_near(fair, specs, optimizer)));
  }
  bucket.bounds.push_back(static_cast<std::size_t>(end));
  bucket_of_.resize(bucket_of_.size() + specs.size(), buckets_.size());
  buckets_.push_back(std::move(bucket));
}

std::int64_t ParameterShards::cut_near(std::int64_t fair, std::span<const ParameterSpec> specs,
                                       OptimizerKind optimizer) const {
  const auto after =
      std::ranges::upper_bound(specs, fair, {}, [&](const ParameterSpec& s) { return offsets_[s.index]; });
  const ParameterSpec& spec = *(after - 1);
  const std::int64_t offset = offsets_[spec.index];
  if (is_muons(optimizer, spec.kind)) return offset;
  const std::int64_t row = (fair - offset) / width_of(spec);
  // In the gap behind a parameter's last row the next one begins.
  return row >= spec.shape.front() ? offsets_[spec.index + 1] : offset + row * width_of(spec);
}

ParameterShards::Rows ParameterShards::rows(const ParameterSpec& spec, int rank) const {
  const std::vector<std::size_t>& bounds = buckets_[bucket_of_[spec.index]].bounds;
  const auto row_at = [&](std::size_t bound) {
    return std::clamp((static_cast<std::int64_t>(bound) - offsets_[spec.index]) / width_of(spec),
                      std::int64_t{0}, spec.shape.front());
  };
  const auto r = static_cast<std::size_t>(rank);
  return {row_at(bounds[r]), row_at(bounds[r + 1])};
}

}  // namespace fathom
