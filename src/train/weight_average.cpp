#include "train/weight_average.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "kernels/vector_ops.h"
#include "train/parameter_tensors.h"

namespace fathom {
namespace {

/// 64 KiB: what a thread takes at a time.
constexpr std::int64_t kChunk = 16384;

struct TensorPair {
  Tensor first;
  Tensor second;
};

/// The tensors of two sets of weights of the same parameters, one by one.
std::vector<TensorPair> pairs_of(const ModelConfig& config, TransformerWeights& first,
                                 TransformerWeights& second) {
  const std::vector<Tensor> firsts = parameter_tensors(config, first);
  const std::vector<Tensor> seconds = parameter_tensors(config, second);
  std::vector<TensorPair> pairs;
  for (std::size_t i = 0; i < firsts.size(); ++i)
    if (firsts[i].defined()) pairs.push_back({firsts[i], seconds[i]});
  return pairs;
}

}  // namespace

WeightAverage::WeightAverage(const ModelConfig& config, TransformerWeights& weights,
                             TransformerWeights average, double decay)
    : average_(std::move(average)), rate_(static_cast<float>(1.0 - decay)) {
  std::vector<TensorPair> pairs = pairs_of(config, weights, average_);
  for (TensorPair& pair : pairs)
    for (std::int64_t begin = 0; begin < pair.first.size(); begin += kChunk)
      chunks_.push_back(
          {pair.first.f32() + begin, pair.second.f32() + begin, std::min(kChunk, pair.first.size() - begin)});
}

void WeightAverage::update(const Context& context) {
  constexpr std::size_t kChunksPerItem = 4;
  context.pool.parallel_ranges(chunks_.size(), kChunksPerItem, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      kernels::move_towards(chunks_[i].weight, rate_, chunks_[i].count, chunks_[i].average);
  });
}

TransformerWeights copy_weights(const ModelConfig& config, const TransformerWeights& weights) {
  TransformerWeights source = weights;  // shares the tensors' storage
  TransformerWeights copy = zero_weights(config, nullptr, DType::f32, rows_defined_in(config, weights));
  std::vector<TensorPair> pairs = pairs_of(config, source, copy);
  for (TensorPair& pair : pairs) std::memcpy(pair.second.data(), pair.first.data(), pair.first.byte_size());
  return copy;
}

}  // namespace fathom
