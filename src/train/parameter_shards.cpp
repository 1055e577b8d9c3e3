#include "train/parameter_shards.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace fathom {
namespace {

std::int64_t width_of(const ParameterSpec& spec) {
  return element_count(spec.shape) / spec.shape.front();
}

/// Which of the holders a rank is.
std::optional<std::size_t> place_among(const std::vector<int>& holders, int rank) {
  const auto at = std::ranges::lower_bound(holders, rank);
  if (at == holders.end() || *at != rank) return std::nullopt;
  return static_cast<std::size_t>(at - holders.begin());
}

}  // namespace

ParameterShards::ParameterShards(const ModelConfig& config, OptimizerKind optimizer,
                                 const ParallelLayout& layout)
    : layout_(layout), offsets_(block_offsets(config)) {
  const std::vector<ParameterSpec> specs = parameter_specs(config);
  std::vector<std::size_t> holders;
  holders.reserve(specs.size());
  for (const ParameterSpec& spec : specs) holders.push_back(holder_set(holders_of(layout, config, spec)));
  for (auto first = specs.begin(); first != specs.end();) {
    const std::size_t set = holders[first->index];
    const auto end = std::find_if(first, specs.end(), [&](const ParameterSpec& s) {
      return s.layer != first->layer || holders[s.index] != set;
    });
    add_bucket(std::span(first, end), optimizer, set);
    first = end;
  }
}

std::size_t ParameterShards::holder_set(std::vector<int> holders) {
  const auto known = std::ranges::find(holder_sets_, holders);
  if (known != holder_sets_.end()) return static_cast<std::size_t>(known - holder_sets_.begin());
  holder_sets_.push_back(std::move(holders));
  return holder_sets_.size() - 1;
}

void ParameterShards::add_bucket(std::span<const ParameterSpec> specs, OptimizerKind optimizer,
                                 std::size_t holders) {
  const std::int64_t begin = offsets_[specs.front().index];
  const std::int64_t length = offsets_[specs.back().index + 1] - begin;
  const auto ranks = static_cast<std::int64_t>(holder_sets_[holders].size());
  Bucket bucket{specs.front().layer, holders, specs.front().index, {0}};
  for (std::int64_t r = 1; r < ranks; ++r) {
    // Without overflow: length · r / ranks.
    const std::int64_t fair = begin + length / ranks * r + length % ranks * r / ranks;
    bucket.bounds.push_back(static_cast<std::size_t>(cut_near(fair, specs, optimizer) - begin));
  }
  bucket.bounds.push_back(static_cast<std::size_t>(length));
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
  const Bucket& bucket = buckets_[bucket_of_[spec.index]];
  const std::optional<std::size_t> holder = place_among(holder_sets_[bucket.holders], rank);
  if (!holder) return {};
  const auto row_at = [&](std::size_t bound) {
    const std::int64_t place = offsets_[bucket.first] + static_cast<std::int64_t>(bound);
    return std::clamp((place - offsets_[spec.index]) / width_of(spec), std::int64_t{0}, spec.shape.front());
  };
  return {row_at(bucket.bounds[*holder]), row_at(bucket.bounds[*holder + 1])};
}

std::vector<std::size_t> ParameterShards::PlacedBucket::bounds() const {
  std::vector<std::size_t> places = bucket->bounds;
  for (std::size_t& place : places) place += begin;
  return places;
}

std::vector<ParameterShards::PlacedBucket> ParameterShards::held_by(int rank) const {
  std::vector<PlacedBucket> held;
  std::size_t begin = 0;
  for (const Bucket& bucket : buckets_) {
    const std::optional<std::size_t> holder = place_among(holder_sets_[bucket.holders], rank);
    if (!holder) continue;
    held.push_back({&bucket, begin, *holder});
    begin += bucket.bounds.back();
  }
  return held;
}

}  // namespace fathom
