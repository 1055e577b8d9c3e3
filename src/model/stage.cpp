#include "model/stage.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/vector_ops.h"
#include "model/embedding.h"
#include "model/head.h"
#include "model/norm.h"

namespace fathom {
namespace {

void add_to(const Context& context, const Tensor& from, double scale, Tensor& to) {
  kernels::axpy(context.pool, static_cast<float>(scale), from.f32(), from.size(), to.f32());
}

/// gradient + scale · dnormed, where an undefined gradient is nought.
Tensor with_loss(const Context& context, Tensor gradient, const Tensor& dnormed, double scale) {
  if (!gradient.defined()) gradient = Tensor::zeros(dnormed.shape());
  add_to(context, dnormed, scale, gradient);
  return gradient;
}

/// What rows here learn at a depth of prediction, and which part of the batch's loss, a mean over all of its
/// targets, theirs is.
struct LossTargets {
  std::vector<std::int32_t> ids;
  double part = 1;

  LossTargets(const Batch& batch, std::int64_t depth)
      : ids(ids_ahead(batch.targets, batch.sequences, depth)) {
    if (!batch.sequences.are_shared()) return;
    const auto is_target = [](std::int32_t id) { return id >= 0; };
    std::int64_t all = 0;
    for (int rank = 0; rank < batch.sequences.ranks; ++rank)
      all += std::ranges::count_if(ids_ahead(batch.targets, batch.sequences.part_of_rank(rank), depth),
                                   is_target);
    part = static_cast<double>(std::ranges::count_if(ids, is_target)) /
           static_cast<double>(std::max<std::int64_t>(all, 1));
  }
};

}  // namespace

bool LayerRun::uses(const ModelConfig& config, const ParameterSpec& spec) const {
  if (spec.layer >= config.num_hidden_layers) return has_head(config);
  if (spec.layer >= 0) return spec.layer >= begin && spec.layer < end;
  if (spec.kind != ParameterKind::embedding) return has_head(config);
  const bool is_used_behind = config.tie_word_embeddings || config.num_nextn_predict_layers > 0;
  return has_embedding() || (is_used_behind && has_head(config));
}

Stage::Stage(const ModelConfig& config, const TransformerWeights& weights, const RopeTable& rope,
             LayerRun layers)
    : config_(config), weights_(weights), layers_(layers) {
  require(layers.begin >= 0 && layers.begin < layers.end && layers.end <= config.num_hidden_layers,
          "a stage of layers {} to {} (exclusive) of {}", layers.begin, layers.end, config.num_hidden_layers);
  blocks_.reserve(static_cast<std::size_t>(layers.end - layers.begin));
  for (std::int64_t i = layers.begin; i < layers.end; ++i)
    blocks_.emplace_back(config, i, weights.layers.at(static_cast<std::size_t>(i)), rope);
  if (layers.has_head(config)) {
    mtp_.reserve(weights.mtp.size());
    for (std::size_t k = 0; k < weights.mtp.size(); ++k)
      mtp_.emplace_back(config, static_cast<std::int64_t>(k), weights.mtp[k], rope);
    parts_.push_back({Part::Kind::head});
    for (std::size_t k = mtp_.size(); k-- > 0;) parts_.push_back({Part::Kind::mtp, k});
    parts_.push_back({Part::Kind::norm});
  }
  for (std::size_t i = blocks_.size(); i-- > 0;) parts_.push_back({Part::Kind::block, i});
  if (layers.has_embedding()) parts_.push_back({Part::Kind::embedding});
}

std::vector<std::int64_t>* Stage::load_of(bool is_moe, Losses& losses) const {
  if (!is_moe) return nullptr;
  return &losses.expert_load.emplace_back(static_cast<std::size_t>(config_.n_routed_experts), 0);
}

Tensor Stage::forward(const Context& context, const Batch& batch, Tensor input, const LossFactors& factors,
                      Saved* saved, Losses& losses) const {
  const Sequences& sequences = batch.sequences;
  require(sequences.whole_tokens() == static_cast<std::int64_t>(batch.tokens.size()) &&
              batch.targets.size() == batch.tokens.size(),
          "a batch of {} tokens with {} targets in sequences of {} tokens", batch.tokens.size(),
          batch.targets.size(), sequences.whole_tokens());
  require(batch.weights.empty() || (batch.weights.size() == batch.tokens.size() && !sequences.are_shared()),
          "a batch of {} tokens with {} weights: there must be as many, of whole sequences",
          batch.tokens.size(), batch.weights.size());
  losses = {};
  if (saved != nullptr) {
    *saved = Saved{};
    saved->blocks.resize(blocks_.size());
    saved->deltas.resize(blocks_.size());
    saved->mtp.resize(mtp_.size());
  }
  Tensor x = layers_.has_embedding() ? embed(weights_.embed_tokens, ids_ahead(batch.tokens, sequences, 0))
                                     : std::move(input);
  for (std::size_t i = 0; i < blocks_.size(); ++i)
    x = blocks_[i].forward(context, x, sequences, saved != nullptr ? &saved->blocks[i] : nullptr,
                           load_of(blocks_[i].is_moe(), losses));
  if (layers_.has_head(config_)) predict(context, batch, std::exchange(x, {}), factors, saved, losses);
  if (saved != nullptr) {
    for (const Block::Saved& block : saved->blocks) losses.balance += block.moe.router.balance_loss;
    for (const Saved::Mtp& mtp : saved->mtp) losses.balance += mtp.module.block.moe.router.balance_loss;
  }
  return x;
}

void Stage::predict(const Context& context, const Batch& batch, const Tensor& output,
                    const LossFactors& factors, Saved* saved, Losses& losses) const {
  const Sequences& sequences = batch.sequences;
  HeadGradients gradients;
  std::vector<Tensor> states;  // of each depth, in evaluation: the heads are then evaluated together
  Tensor state = norm_forward(context, config_.rms_norm_eps, weights_.norm, output);
  if (saved != nullptr) {
    saved->output = output;
    const LossTargets targets(batch, 0);
    losses.main = targets.part * head_loss(context.without_fp8(), weights_.lm_head, state, targets.ids,
                                           targets.part, gradients, &losses.targets, batch.weights);
    saved->dnormed = gradients.dnormed;
  } else {
    states.push_back(state);
  }

  Sequences shorter = sequences;
  for (std::size_t k = 0; k < mtp_.size(); ++k) {
    const auto depth = static_cast<std::int64_t>(k) + 1;
    state = drop_last_rows(state, shorter);
    shorter = sequences.shortened(depth);
    std::vector<std::int32_t> tokens = ids_ahead(batch.tokens, sequences, depth);
    state = mtp_[k].forward(context, embed(weights_.embed_tokens, tokens), state, shorter,
                            saved != nullptr ? &saved->mtp[k].module : nullptr,
                            load_of(mtp_[k].is_moe(), losses));
    if (saved == nullptr) {
      states.push_back(state);
      continue;
    }
    const LossTargets targets(batch, depth);
    std::int64_t counted = 0;
    losses.mtp.push_back(targets.part *
                         head_loss(context.without_fp8(), weights_.lm_head, state, targets.ids,
                                   targets.part * factors.mtp / static_cast<double>(mtp_.size()), gradients,
                                   &counted));
    saved->mtp[k].tokens = std::move(tokens);
    saved->mtp[k].dnormed = gradients.dnormed;
  }
  if (saved != nullptr) {
    saved->dhead = gradients.dweight;
    return;
  }
  require(!sequences.are_shared(), "evaluation of a part of sequences: it takes them whole");
  HeadEvaluation heads =
      evaluate_heads(context.without_fp8(), weights_.lm_head, states, sequences, batch.targets);
  losses.main = heads.losses.front();
  losses.mtp.assign(heads.losses.begin() + 1, heads.losses.end());
  losses.targets = heads.targets;
  losses.drafts = std::move(heads.drafts);
}

Tensor Stage::part_input(const Context& context, const Batch& batch, const LossFactors& factors, double scale,
                         Part part, Tensor gradient, Saved& saved) const {
  const Sequences& sequences = batch.sequences;
  const double balance_alpha = factors.balance * scale;
  switch (part.kind) {
    case Part::Kind::head:  // with the forward pass already
      return {};
    case Part::Kind::mtp: {  // gives a gradient to the state of the depth before it
      Saved::Mtp& mtp = saved.mtp[part.index];
      const auto depth = static_cast<std::int64_t>(part.index);
      const Tensor dnormed = with_loss(context, std::move(gradient), std::exchange(mtp.dnormed, {}), scale);
      const MtpModule::InputGradients inputs = mtp_[part.index].backward_input(
          context, dnormed, sequences.shortened(depth + 1), balance_alpha, mtp.module, mtp.deltas);
      mtp.dembedding = inputs.embedding;
      return restore_last_rows(inputs.state, sequences.shortened(depth));
    }
    case Part::Kind::norm: {
      saved.dnormed = with_loss(context, std::move(gradient), saved.dnormed, scale);
      Tensor dx = Tensor::zeros(saved.output.shape());
      norm_backward_input(context, config_.rms_norm_eps, weights_.norm, saved.output, saved.dnormed, dx);
      return dx;
    }
    case Part::Kind::block:
      return blocks_[part.index].backward_input(context, gradient, sequences, balance_alpha,
                                                saved.blocks[part.index], saved.deltas[part.index]);
    case Part::Kind::embedding:
      saved.dembedding = std::move(gradient);
      return {};
  }
  return {};
}

void Stage::part_weight(const Context& context, const Batch& batch, double scale, Part part, Saved& saved,
                        TransformerWeights& grads) const {
  switch (part.kind) {
    case Part::Kind::head:
      add_to(context, std::exchange(saved.dhead, {}), scale,
             config_.tie_word_embeddings ? grads.embed_tokens : grads.lm_head.weight);
      break;
    case Part::Kind::mtp: {
      const Saved::Mtp mtp = std::exchange(saved.mtp[part.index], {});
      mtp_[part.index].backward_weight(context, mtp.module, mtp.deltas, grads.mtp[part.index]);
      add_embedding_gradient(context, mtp.tokens, mtp.dembedding, grads.embed_tokens);
      break;
    }
    case Part::Kind::norm:
      norm_backward_weight(context, config_.rms_norm_eps, std::exchange(saved.output, {}),
                           std::exchange(saved.dnormed, {}), grads.norm);
      break;
    case Part::Kind::block: {
      const Block::Saved block = std::exchange(saved.blocks[part.index], {});
      const Block::Deltas deltas = std::exchange(saved.deltas[part.index], {});
      const auto layer = static_cast<std::size_t>(layers_.begin) + part.index;
      blocks_[part.index].backward_weight(context, block, deltas, grads.layers[layer]);
      break;
    }
    case Part::Kind::embedding:
      add_embedding_gradient(context, ids_ahead(batch.tokens, batch.sequences, 0),
                             std::exchange(saved.dembedding, {}), grads.embed_tokens);
      break;
  }
}

void Stage::weights_are_done(Part part, const LayerIsDone& done) const {
  if (!done) return;
  const auto index = static_cast<std::int64_t>(part.index);
  if (part.kind == Part::Kind::mtp) done(config_.num_hidden_layers + index);
  if (part.kind == Part::Kind::block) done(layers_.begin + index);
  if (part == parts_.back() && (layers_.has_embedding() || layers_.has_head(config_))) done(-1);
}

Tensor Stage::backward(const Context& context, const Batch& batch, const LossFactors& factors, double scale,
                       Tensor doutput, Saved& saved, TransformerWeights& grads,
                       const LayerIsDone& done) const {
  Tensor gradient = std::move(doutput);
  for (const Part part : parts_) {
    if (part.kind == Part::Kind::block) {
      const Block::Saved block = std::exchange(saved.blocks[part.index], {});
      const auto layer = static_cast<std::size_t>(layers_.begin) + part.index;
      gradient = blocks_[part.index].backward(context, gradient, batch.sequences, factors.balance * scale,
                                              block, saved.deltas[part.index], grads.layers[layer]);
      saved.deltas[part.index] = {};
    } else {
      gradient = part_input(context, batch, factors, scale, part, std::move(gradient), saved);
      part_weight(context, batch, scale, part, saved, grads);
    }
    weights_are_done(part, done);
  }
  return gradient;
}

Tensor Stage::backward_input(const Context& context, const Batch& batch, const LossFactors& factors,
                             double scale, Tensor doutput, Saved& saved) const {
  Tensor gradient = std::move(doutput);
  for (const Part part : parts_)
    gradient = part_input(context, batch, factors, scale, part, std::move(gradient), saved);
  return gradient;
}

void Stage::backward_weight(const Context& context, const Batch& batch, double scale, Saved& saved,
                            TransformerWeights& grads, const LayerIsDone& done) const {
  for (const Part part : parts_) {
    part_weight(context, batch, scale, part, saved, grads);
    weights_are_done(part, done);
  }
}

}  // namespace fathom
