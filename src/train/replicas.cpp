#include "train/replicas.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"

namespace fathom {
namespace {

constexpr int kFirstMomentsTag = 0;
constexpr int kSecondMomentsTag = 1;

/// Copies a shard's rows to their places among all.
void copy_shard(const ModelConfig& config, TransformerWeights& shard, const ParameterShards& shards, int rank,
                TransformerWeights& all) {
  std::vector<Tensor> parts;
  visit_parameters(config, shard,
                   [&](const ParameterSpec&, Tensor& value, Tensor*) { parts.push_back(value); });
  visit_parameters(config, all, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    const Tensor& part = parts[spec.index];
    if (!part.defined()) return;
    const ParameterShards::Rows rows = shards.rows(spec, rank);
    std::memcpy(value.rows(rows.begin, rows.end).data(), part.data(), part.byte_size());
  });
}

}  // namespace

BatchShare share_of_batch(std::int64_t batch_size, std::int64_t unit, int rank, int ranks) {
  const std::int64_t units = batch_size / unit;
  const auto begin_of = [&](std::int64_t r) { return units * r / ranks * unit; };
  return {begin_of(rank), begin_of(rank + 1) - begin_of(rank)};
}

Replicas::Replicas(Communicator& ranks, const ModelConfig& config, TransformerWeights& weights,
                   Optimizer& optimizer)
    : ranks_(ranks), optimizer_(optimizer), weights_(block_of(config, weights)) {
  require(optimizer.shards().ranks() == ranks.size(), "an optimizer in {} shards for {} ranks",
          optimizer.shards().ranks(), ranks.size());
  for (const ParameterShards::Bucket& bucket : optimizer.shards().buckets()) buckets_.push_back(&bucket);
  std::ranges::stable_sort(buckets_, [](const auto* a, const auto* b) { return a->layer > b->layer; });
}

void Replicas::layer_is_done(const Context& context, std::int64_t layer) {
  if (ranks_.size() == 1) return;
  while (begun_ < buckets_.size() && buckets_[begun_]->layer >= layer) {
    // The one before has travelled meanwhile: two are in memory at most.
    std::optional<ReduceScatter> before = std::move(reduction_);
    reduction_.emplace(ranks_, optimizer_.gradient_block().values(), buckets_[begun_++]->bounds);
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
  std::vector<Transfers> gathers;
  for (const ParameterShards::Bucket& bucket : optimizer_.shards().buckets()) {
    std::vector<std::size_t> bounds = bucket.bounds;
    for (std::size_t& bound : bounds) bound *= sizeof(float);
    gathers.push_back(all_gather(ranks_, weights_.bytes(), bounds));
  }
  for (Transfers& gather : gathers) gather.wait();
}

Moments Replicas::gather_moments(const ModelConfig& config) const {
  const Moments& own = optimizer_.moments();
  if (!is_first()) {
    const Transfer first = ranks_.send(own.first_block.bytes(), 0, kFirstMomentsTag);
    const Transfer second = ranks_.send(own.second_block.bytes(), 0, kSecondMomentsTag);
    first.wait();
    second.wait();
    return {};
  }
  if (ranks_.size() == 1) return own;
  const OptimizerKind kind = optimizer_.kind();
  const DType dtype = optimizer_.dtype();
  const ParameterShards& shards = optimizer_.shards();
  Moments all = zero_moments(config, kind, dtype, ParameterShards(config, kind, 1), 0);
  for (int r = 0; r < ranks_.size(); ++r) {
    Moments part = r == 0 ? own : zero_moments(config, kind, dtype, shards, r);
    if (r > 0) {
      const Transfer first = ranks_.receive(part.first_block.bytes(), r, kFirstMomentsTag);
      const Transfer second = ranks_.receive(part.second_block.bytes(), r, kSecondMomentsTag);
      first.wait();
      second.wait();
    }
    copy_shard(config, part.first, shards, r, all.first);
    copy_shard(config, part.second, shards, r, all.second);
  }
  return all;
}

}  // namespace fathom
