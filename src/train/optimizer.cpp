#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "base/error.h"
#include "kernels/adamw.h"
#include "train/parameter_tensors.h"

namespace fathom {
namespace {

/// Chunks that a thread takes at a time, so that many small ones cost no more than a few large ones.
constexpr std::size_t kChunksPerItem = 4;

bool is_decayed(ParameterKind kind) {
  return kind != ParameterKind::norm && kind != ParameterKind::bias;
}

/// Where element `index` of a tensor lies.
void* element(Tensor& tensor, std::int64_t index) {
  return static_cast<std::byte*>(tensor.data()) +
         static_cast<std::size_t>(index) * dtype_size(tensor.dtype());
}

void update(const kernels::AdamWStep& step, DType moments, std::size_t count, float* weight, float* gradient,
            void* first, void* second) {
  if (moments == DType::bf16) {
    kernels::adamw(step, count, weight, gradient, static_cast<Bf16*>(first), static_cast<Bf16*>(second));
  } else {
    kernels::adamw(step, count, weight, gradient, static_cast<float*>(first), static_cast<float*>(second));
  }
}

}  // namespace

std::string_view optimizer_name(OptimizerKind kind) {
  return kind == OptimizerKind::muon ? "muon" : "adamw";
}

bool is_muons(OptimizerKind optimizer, ParameterKind kind) {
  return optimizer == OptimizerKind::muon && (kind == ParameterKind::linear || kind == ParameterKind::expert);
}

Moments zero_moments(const ModelConfig& config, OptimizerKind optimizer, DType dtype,
                     const ParameterShards& shards, int rank) {
  Moments moments;
  moments.first = zero_weights(config, &moments.first_block, dtype,
                               [&](const ParameterSpec& spec) { return shards.rows(spec, rank).count(); });
  moments.second = zero_weights(config, &moments.second_block, dtype, [&](const ParameterSpec& spec) {
    return is_muons(optimizer, spec.kind) ? 0 : shards.rows(spec, rank).count();
  });
  return moments;
}

Optimizer::Optimizer(const ModelConfig& config, TransformerWeights& weights, DType moments,
                     OptimizerKind kind)
    : Optimizer(config, weights, moments, kind, ParameterShards(config, kind, {}), 0) {}

Optimizer::Optimizer(const ModelConfig& config, TransformerWeights& weights, DType moments,
                     OptimizerKind kind, const ParameterShards& shards, int rank)
    : shards_(shards),
      rank_(rank),
      kind_(kind),
      dtype_(moments),
      gradients_(zero_weights(config, &gradient_block_, DType::f32, rows_defined_in(config, weights))),
      moments_(zero_moments(config, kind, moments, shards_, rank)) {
  std::vector<Tensor> gradient = parameter_tensors(config, gradients_);
  std::vector<Tensor> first = parameter_tensors(config, moments_.first);
  std::vector<Tensor> second = parameter_tensors(config, moments_.second);
  std::vector<Muon::Matrix> matrices;
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    const ParameterShards::Rows rows = shards_.rows(spec, rank);
    if (spec.kind == ParameterKind::router_bias || rows.count() == 0) return;
    const std::size_t at = spec.index;
    const bool of_muon = is_muons(kind, spec.kind);
    if (of_muon)
      matrices.push_back({value.f32(), gradient[at].f32(), first[at].data(), value.dim(0), value.dim(1)});
    Tensor weight = value.rows(rows.begin, rows.end);
    Tensor grad = gradient[at].rows(rows.begin, rows.end);
    for (std::int64_t begin = 0; begin < weight.size(); begin += kChunk)
      chunks_.push_back({weight.f32() + begin, grad.f32() + begin, element(first[at], begin),
                         of_muon ? nullptr : element(second[at], begin),
                         static_cast<std::size_t>(std::min(kChunk, weight.size() - begin)),
                         is_decayed(spec.kind), of_muon});
  });
  muon_ = Muon(matrices, moments);
}

double Optimizer::gradient_square(const Context& context) const {
  std::vector<double> squares(chunks_.size());
  context.pool.parallel_ranges(chunks_.size(), kChunksPerItem, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      squares[i] = kernels::sum_of_squares(chunks_[i].gradient, chunks_[i].count);
  });
  double sum = 0;
  for (const double square : squares) sum += square;
  return sum;
}

void Optimizer::zero_other_gradients(const Context& context) {
  constexpr std::size_t kPiece = std::size_t{1} << 18U;
  const auto zero = [&](std::size_t begin, std::size_t end) {
    const std::span<float> values = gradient_block_.values().subspan(begin, end - begin);
    context.pool.parallel_ranges(values.size(), kPiece, [&](std::size_t from, std::size_t to) {
      std::fill(values.begin() + static_cast<std::ptrdiff_t>(from),
                values.begin() + static_cast<std::ptrdiff_t>(to), 0.0F);
    });
  };
  for (const ParameterShards::PlacedBucket& bucket : shards_.held_by(rank_)) {
    const std::vector<std::size_t> bounds = bucket.bounds();
    zero(bounds.front(), bounds[bucket.own]);
    zero(bounds[bucket.own + 1], bounds.back());
  }
}

void Optimizer::step(const Context& context, const OptimizerSettings& settings, std::int64_t step,
                     double norm) {
  const bool clips = settings.gradient_clip > 0 && norm > settings.gradient_clip;
  const auto t = static_cast<double>(step + 1);
  const kernels::AdamWStep decayed = {
      .learning_rate = static_cast<float>(settings.learning_rate),
      .beta1 = static_cast<float>(settings.beta1),
      .beta2 = static_cast<float>(settings.beta2),
      .epsilon = static_cast<float>(settings.epsilon),
      .weight_decay = static_cast<float>(settings.weight_decay),
      .gradient_scale = static_cast<float>(clips ? settings.gradient_clip / norm : 1.0),
      .correction1 = static_cast<float>(1.0 / (1.0 - std::pow(settings.beta1, t))),
      .correction2 = static_cast<float>(1.0 / (1.0 - std::pow(settings.beta2, t)))};
  kernels::AdamWStep plain = decayed;
  plain.weight_decay = 0;
  context.pool.parallel_ranges(chunks_.size(), kChunksPerItem, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const Chunk& chunk = chunks_[i];
      if (chunk.is_muons) continue;
      update(chunk.decays ? decayed : plain, dtype_, chunk.count, chunk.weight, chunk.gradient, chunk.first,
             chunk.second);
    }
  });
  muon_.step(context, {.learning_rate = decayed.learning_rate,
                       .weight_decay = decayed.weight_decay,
                       .momentum = static_cast<float>(settings.muon_momentum),
                       .gradient_scale = decayed.gradient_scale});
  zero_other_gradients(context);
}

}  // namespace fathom
