#include "model/transformer.h"

#include <numeric>
#include <utility>

#include "base/error.h"
#include "kernels/vector_ops.h"
#include "model/head.h"
#include "model/linear.h"
#include "model/norm.h"
#include "numerics/convert.h"

namespace fathom {
namespace {

/// grads[token of row t] += rows[t]. Columns are shared out, so every sum runs over the tokens in order.
void add_to_embedding(const Context& context, std::span<const std::int32_t> tokens, const Tensor& rows,
                      Tensor& grads) {
  constexpr std::size_t kColumns = 64;
  const std::int64_t hidden = rows.dim(1);
  const float* from = rows.f32();
  float* to = grads.f32();
  context.pool.parallel_ranges(static_cast<std::size_t>(hidden), kColumns,
                               [&](std::size_t begin, std::size_t end) {
                                 for (std::size_t t = 0; t < tokens.size(); ++t) {
                                   float* row = to + tokens[t] * hidden;
                                   const float* delta = from + static_cast<std::int64_t>(t) * hidden;
                                   for (std::size_t i = begin; i < end; ++i) row[i] += delta[i];
                                 }
                               });
}

void add_to(const Context& context, const Tensor& from, double scale, Tensor& to) {
  kernels::axpy(context.pool, static_cast<float>(scale), from.f32(), from.size(), to.f32());
}

}  // namespace

double Losses::total(const LossFactors& factors) const {
  const double mtp_mean =
      mtp.empty() ? 0.0 : std::accumulate(mtp.begin(), mtp.end(), 0.0) / static_cast<double>(mtp.size());
  return main + factors.mtp * mtp_mean + factors.balance * balance;
}

Transformer::Transformer(const ModelConfig& config, const TransformerWeights& weights,
                         std::int64_t max_positions)
    : config_(config), weights_(weights), rope_(config, max_positions) {
  blocks_.reserve(weights.layers.size());
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i)
    blocks_.emplace_back(config, i, weights.layers.at(static_cast<std::size_t>(i)), rope_);
  mtp_.reserve(weights.mtp.size());
  for (std::size_t k = 0; k < weights.mtp.size(); ++k)
    mtp_.emplace_back(config, static_cast<std::int64_t>(k), weights.mtp[k], rope_);
}

Tensor Transformer::embed(std::span<const std::int32_t> tokens) const {
  const std::int64_t hidden = config_.hidden_size;
  const Tensor& table = weights_.embed_tokens;
  const std::size_t row_bytes = static_cast<std::size_t>(hidden) * dtype_size(table.dtype());
  const auto* rows = static_cast<const std::byte*>(table.data());
  Tensor x = Tensor::empty({static_cast<std::int64_t>(tokens.size()), hidden});
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    require(tokens[t] >= 0 && tokens[t] < config_.vocab_size,
            "token id {} is not in the vocabulary of {} entries", tokens[t], config_.vocab_size);
    widen_to_f32(rows + static_cast<std::size_t>(tokens[t]) * row_bytes, table.dtype(), hidden,
                 x.f32() + static_cast<std::int64_t>(t) * hidden);
  }
  return x;
}

Losses Transformer::forward(const Context& context, const Batch& batch, const LossFactors& factors,
                            Saved* saved) const {
  const Sequences& sequences = batch.sequences;
  require(sequences.tokens() == static_cast<std::int64_t>(batch.tokens.size()) &&
              batch.targets.size() == batch.tokens.size(),
          "a batch of {} tokens with {} targets in sequences of {} tokens", batch.tokens.size(),
          batch.targets.size(), sequences.tokens());
  Losses losses;
  if (saved != nullptr) {
    *saved = Saved{};
    saved->blocks.resize(blocks_.size());
    saved->mtp.resize(mtp_.size());
  }
  const auto load_of = [&](bool is_moe) -> std::vector<std::int64_t>* {
    if (!is_moe) return nullptr;
    return &losses.expert_load.emplace_back(static_cast<std::size_t>(config_.n_routed_experts), 0);
  };

  Tensor x = embed(batch.tokens);
  for (std::size_t i = 0; i < blocks_.size(); ++i)
    x = blocks_[i].forward(context, x, sequences, saved != nullptr ? &saved->blocks[i] : nullptr,
                           load_of(blocks_[i].is_moe()));
  if (saved != nullptr) saved->output = x;

  HeadGradients gradients;
  std::vector<Tensor> states;  // of each depth, in evaluation: the heads are then evaluated together
  Tensor state = norm_forward(context, config_.rms_norm_eps, weights_.norm, x);
  if (saved != nullptr) {
    losses.main = head_loss(context.without_fp8(), weights_.lm_head, state, batch.targets, 1.0, gradients,
                            &losses.targets);
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
    state = mtp_[k].forward(context, embed(tokens), state, shorter,
                            saved != nullptr ? &saved->mtp[k].module : nullptr, load_of(mtp_[k].is_moe()));
    if (saved == nullptr) {
      states.push_back(state);
      continue;
    }
    std::int64_t counted = 0;
    losses.mtp.push_back(head_loss(context.without_fp8(), weights_.lm_head, state,
                                   ids_ahead(batch.targets, sequences, depth),
                                   factors.mtp / static_cast<double>(mtp_.size()), gradients, &counted));
    saved->mtp[k].tokens = std::move(tokens);
    saved->mtp[k].dnormed = gradients.dnormed;
  }
  if (saved == nullptr) {
    HeadEvaluation heads =
        evaluate_heads(context.without_fp8(), weights_.lm_head, states, sequences, batch.targets);
    losses.main = heads.losses.front();
    losses.mtp.assign(heads.losses.begin() + 1, heads.losses.end());
    losses.targets = heads.targets;
    losses.drafts = std::move(heads.drafts);
  } else {
    saved->dhead = gradients.dweight;
    for (const Block::Saved& block : saved->blocks) losses.balance += block.moe.router.balance_loss;
    for (const Saved::Mtp& mtp : saved->mtp) losses.balance += mtp.module.block.moe.router.balance_loss;
  }
  return losses;
}

void Transformer::backward(const Context& context, const Batch& batch, const LossFactors& factors,
                           double scale, Saved& saved, TransformerWeights& grads,
                           const LayerIsDone& done) const {
  const auto layer_is_done = [&](std::int64_t layer) {
    if (done) done(layer);
  };
  const Sequences& sequences = batch.sequences;
  const double balance_alpha = factors.balance * scale;
  add_to(context, saved.dhead, scale,
         config_.tie_word_embeddings ? grads.embed_tokens : grads.lm_head.weight);
  saved.dhead = Tensor();

  // From the last module down: each gives a gradient to the state of the depth before it.
  Tensor dstate;  // at the state that the depth above read
  const auto add_dstate = [&](const Tensor& dnormed) {
    if (!dstate.defined()) dstate = Tensor::zeros(dnormed.shape());
    add_to(context, dnormed, scale, dstate);
    return dstate;
  };
  for (std::size_t k = mtp_.size(); k-- > 0;) {
    Saved::Mtp& mtp = saved.mtp[k];
    MtpModule::Deltas deltas;
    const auto depth = static_cast<std::int64_t>(k);
    const MtpModule::InputGradients gradients = mtp_[k].backward_input(
        context, add_dstate(mtp.dnormed), sequences.shortened(depth + 1), balance_alpha, mtp.module, deltas);
    mtp_[k].backward_weight(context, mtp.module, deltas, grads.mtp[k]);
    add_to_embedding(context, mtp.tokens, gradients.embedding, grads.embed_tokens);
    dstate = restore_last_rows(gradients.state, sequences.shortened(depth));
    mtp = {};
    layer_is_done(config_.num_hidden_layers + depth);
  }

  const Tensor dnormed = add_dstate(saved.dnormed);
  Tensor dx = Tensor::zeros(saved.output.shape());
  norm_backward_input(context, config_.rms_norm_eps, weights_.norm, saved.output, dnormed, dx);
  norm_backward_weight(context, config_.rms_norm_eps, saved.output, dnormed, grads.norm);
  saved.output = Tensor();
  saved.dnormed = Tensor();
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    Block::Deltas deltas;
    dx = blocks_[i].backward_input(context, dx, sequences, balance_alpha, saved.blocks[i], deltas);
    blocks_[i].backward_weight(context, saved.blocks[i], deltas, grads.layers[i]);
    saved.blocks[i] = {};
    layer_is_done(static_cast<std::int64_t>(i));
  }
  add_to_embedding(context, batch.tokens, dx, grads.embed_tokens);
  layer_is_done(-1);
}

Tensor Transformer::hidden_states(const Context& context, std::span<const std::int32_t> tokens,
                                  const Sequences& sequences) const {
  Tensor x = embed(tokens);
  for (const Block& block : blocks_) x = block.forward(context, x, sequences, nullptr);
  return norm_forward(context, config_.rms_norm_eps, weights_.norm, x);
}

Tensor Transformer::forward_cached(const Context& context, std::span<const std::int32_t> tokens,
                                   LatentCache& cache) const {
  const std::int64_t end = cache.length() + static_cast<std::int64_t>(tokens.size());
  require(end <= cache.capacity && end <= max_positions(),
          "{} tokens do not fit a cache of {} and {} positions", end, cache.capacity, max_positions());
  Tensor x = embed(tokens);
  for (std::size_t i = 0; i < blocks_.size(); ++i) x = blocks_[i].forward_cached(context, x, cache.layers[i]);
  return norm_forward(context, config_.rms_norm_eps, weights_.norm, x);
}

Tensor Transformer::head(const Context& context, const Tensor& hidden) const {
  return linear_forward(context.without_fp8(), weights_.lm_head, hidden);
}

}  // namespace fathom
