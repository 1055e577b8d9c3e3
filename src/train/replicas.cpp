#include "train/replicas.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "train/parameter_tensors.h"

namespace fathom {
namespace {

constexpr int kShardTag = 0;

/// Copies a shard's rows to their places among all.
void copy_shard(const ModelConfig& config, TransformerWeights& shard, const ParameterShards& shards, int rank,
                TransformerWeights& all) {
  const std::vector<Tensor> parts = parameter_tensors(config, shard);
  visit_parameters(config, all, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    const Tensor& part = parts[spec.index];
    if (!part.defined()) return;
    const ParameterShards::Rows rows = shards.rows(spec, rank);
    std::memcpy(value.rows(rows.begin, rows.end).data(), part.data(), part.byte_size());
  });
}

bool has_all(const ParameterSpec& /*spec*/) {
  return true;
}

}  // namespace

BatchShare share_of_batch(std::int64_t batch_size, std::int64_t unit, int rank, int ranks) {
  const std::int64_t units = batch_size / unit;
  const auto begin_of = [&](std::int64_t r) { return units * r / ranks * unit; };
  return {begin_of(rank), begin_of(rank + 1) - begin_of(rank)};
}

Replicas::Replicas(Communicator& ranks, const ModelConfig& config, TransformerWeights& weights,
                   Optimizer& optimizer)
    : ranks_(ranks), config_(config), optimizer_(optimizer), weights_(block_of(config, weights)) {
  require(shards().layout().ranks == ranks.size(), "an optimizer in {} shards for {} ranks",
          shards().layout().ranks, ranks.size());
  for (const std::vector<int>& set : shards().holder_sets()) {
    const bool is_holder = std::ranges::binary_search(set, ranks.rank());
    std::unique_ptr<Communicator> part = ranks.split(is_holder ? 1 : 0, 0);
    holders_.push_back(is_holder ? std::move(part) : nullptr);
  }
  for (const ParameterShards::PlacedBucket& placed : shards().held_by(ranks.rank()))
    buckets_.push_back({placed, holders_[placed.bucket->holders].get()});
  std::ranges::stable_sort(buckets_, [](const SharedBucket& a, const SharedBucket& b) {
    return a.placed.bucket->layer > b.placed.bucket->layer;
  });
}

void Replicas::layer_is_done(const Context& context, std::int64_t layer) {
  if (ranks_.size() == 1) return;
  while (begun_ < buckets_.size() && buckets_[begun_].placed.bucket->layer >= layer) {
    const SharedBucket& next = buckets_[begun_++];
    // The one before has travelled meanwhile: two are in memory at most.
    std::optional<ReduceScatter> before = std::move(reduction_);
    reduction_.emplace(*next.holders, optimizer_.gradient_block().values(), next.placed.bounds());
    if (before) before->finish(context.pool);
  }
}

void Replicas::finish_reduction(const Context& context) {
  layer_is_done(context, -1);
  if (reduction_) reduction_->finish(context.pool);
  reduction_.reset();
  begun_ = 0;
}

double Replicas::gradient_norm(const Context& context) const {
  std::array<double, 1> square = {optimizer_.gradient_square(context)};
  all_sum(ranks_, std::span<double>(square));
  return std::sqrt(square[0]);
}

void Replicas::gather_weights() {
  Transfers gathers;
  for (const SharedBucket& bucket : buckets_) {
    std::vector<std::size_t> bounds = bucket.placed.bounds();
    for (std::size_t& bound : bounds) bound *= sizeof(float);
    gathers.add(all_gather(*bucket.holders, weights_.bytes(), bounds));
  }
  gathers.wait();
}

TransformerWeights Replicas::gather_shards(TransformerWeights own, const Tensor& block, Tensor* all_block,
                                           const std::function<bool(const ParameterSpec&)>& has) const {
  if (!is_first()) {
    ranks_.send(block.bytes(), 0, kShardTag).wait();
    return {};
  }
  TransformerWeights all = zero_weights(config_, all_block, block.dtype(), [&](const ParameterSpec& spec) {
    return has(spec) ? spec.shape.front() : 0;
  });
  copy_shard(config_, own, shards(), 0, all);
  for (int r = 1; r < ranks_.size(); ++r) {
    Tensor part_block;
    TransformerWeights part = zero_weights(
        config_, &part_block, block.dtype(),
        [&](const ParameterSpec& spec) { return has(spec) ? shards().rows(spec, r).count() : 0; });
    ranks_.receive(part_block.bytes(), r, kShardTag).wait();
    copy_shard(config_, part, shards(), r, all);
  }
  return all;
}

Moments Replicas::gather_moments() const {
  const Moments& own = optimizer_.moments();
  if (ranks_.size() == 1) return own;
  Moments all;
  all.first = gather_shards(own.first, own.first_block, &all.first_block, has_all);
  all.second = gather_shards(own.second, own.second_block, &all.second_block, [&](const ParameterSpec& spec) {
    return !is_muons(optimizer_.kind(), spec.kind);
  });
  return all;
}

TransformerWeights Replicas::gather_all(const TransformerWeights& held) const {
  if (shards().layout().is_replicated()) return is_first() ? held : TransformerWeights();
  Tensor block;
  TransformerWeights own = zero_weights(config_, &block, DType::f32, [&](const ParameterSpec& spec) {
    return shards().rows(spec, ranks_.rank()).count();
  });
  std::vector<Tensor> places = parameter_tensors(config_, own);
  TransformerWeights views = held;  // shares the tensors' storage
  visit_parameters(config_, views, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    Tensor& place = places[spec.index];
    if (!place.defined()) return;
    const ParameterShards::Rows rows = shards().rows(spec, ranks_.rank());
    std::memcpy(place.data(), value.rows(rows.begin, rows.end).data(), place.byte_size());
  });
  return gather_shards(std::move(own), block, nullptr, has_all);
}

}  // namespace fathom
