#include "model/mtp.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "model/linear.h"
#include "model/norm.h"

namespace fathom {
namespace {

/// [left[t]; right[t]] in each row.
Tensor join_columns(const Tensor& left, const Tensor& right) {
  const std::int64_t tokens = left.dim(0);
  const std::int64_t hidden = left.dim(1);
  const std::size_t bytes = static_cast<std::size_t>(hidden) * sizeof(float);
  Tensor joined = Tensor::empty({tokens, 2 * hidden});
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::memcpy(joined.f32() + t * 2 * hidden, left.f32() + t * hidden, bytes);
    std::memcpy(joined.f32() + t * 2 * hidden + hidden, right.f32() + t * hidden, bytes);
  }
  return joined;
}

/// Columns [begin, begin + count) of a [tokens, columns] tensor.
Tensor take_columns(const Tensor& from, std::int64_t begin, std::int64_t count) {
  const std::int64_t tokens = from.dim(0);
  Tensor taken = Tensor::empty({tokens, count});
  for (std::int64_t t = 0; t < tokens; ++t)
    std::memcpy(taken.f32() + t * count, from.f32() + t * from.dim(1) + begin,
                static_cast<std::size_t>(count) * sizeof(float));
  return taken;
}

/// Copies each sequence's first rows, as many as `lengths` has, between two layouts.
void copy_sequences(const Tensor& from, const Sequences& from_layout, Tensor& to, const Sequences& to_layout,
                    const Sequences& lengths) {
  const std::int64_t hidden = from.dim(1);
  for (std::size_t s = 0; s + 1 < lengths.offsets.size(); ++s) {
    const std::int64_t rows = lengths.offsets[s + 1] - lengths.offsets[s];
    std::copy_n(from.f32() + from_layout.offsets[s] * hidden, rows * hidden,
                to.f32() + to_layout.offsets[s] * hidden);
  }
}

}  // namespace

MtpModule::MtpModule(const ModelConfig& config, std::int64_t depth, const MtpWeights& weights,
                     const RopeTable& rope)
    : config_(config),
      weights_(weights),
      block_(config, config.num_hidden_layers + depth, weights.block, rope) {}

Tensor MtpModule::joined(const Context& context, const Tensor& embedding, const Tensor& state) const {
  return join_columns(norm_forward(context, config_.rms_norm_eps, weights_.enorm, embedding),
                      norm_forward(context, config_.rms_norm_eps, weights_.hnorm, state));
}

Tensor MtpModule::forward(const Context& context, const Tensor& embedding, const Tensor& state,
                          const Sequences& sequences, Saved* saved, std::vector<std::int64_t>* load) const {
  Saved kept;
  const Tensor input = joined(context, keep_rounded(context, embedding, kept.embedding),
                              keep_rounded(context, state, kept.state));
  const Tensor projected = linear_forward(context.without_fp8(), weights_.eh_proj, input);
  const Tensor output =
      block_.forward(context, projected, sequences, saved != nullptr ? &saved->block : nullptr, load);
  if (saved != nullptr) {
    saved->embedding = kept.embedding;
    saved->state = kept.state;
    saved->output = output;
  }
  return norm_forward(context, config_.rms_norm_eps, weights_.shared_head_norm, output);
}

Tensor MtpModule::forward_cached(const Context& context, const Tensor& embedding, const Tensor& state,
                                 const CachedTokens<LatentCacheLayer>& batch,
                                 std::vector<std::int64_t>* load) const {
  const Tensor projected =
      linear_forward(context.without_fp8(), weights_.eh_proj, joined(context, embedding, state));
  const Tensor output = block_.forward_cached(context, projected, batch, load);
  return norm_forward(context, config_.rms_norm_eps, weights_.shared_head_norm, output);
}

MtpModule::InputGradients MtpModule::backward_input(const Context& context, const Tensor& dy,
                                                    const Sequences& sequences, double balance_alpha,
                                                    const Saved& saved, Deltas& deltas) const {
  const std::int64_t hidden = config_.hidden_size;
  deltas.output_norm = dy;
  Tensor doutput = Tensor::zeros(dy.shape());
  norm_backward_input(context, config_.rms_norm_eps, weights_.shared_head_norm, saved.output, dy, doutput);
  deltas.projected =
      block_.backward_input(context, doutput, sequences, balance_alpha, saved.block, deltas.block);
  const Tensor embedding = saved.embedding.f32(context);
  const Tensor state = saved.state.f32(context);
  deltas.joined = joined(context, embedding, state);
  const Tensor djoined = linear_backward_input(context.without_fp8(), weights_.eh_proj, deltas.projected);
  deltas.embedding_norm = take_columns(djoined, 0, hidden);
  deltas.state_norm = take_columns(djoined, hidden, hidden);
  InputGradients gradients{Tensor::zeros(dy.shape()), Tensor::zeros(dy.shape())};
  norm_backward_input(context, config_.rms_norm_eps, weights_.enorm, embedding, deltas.embedding_norm,
                      gradients.embedding);
  norm_backward_input(context, config_.rms_norm_eps, weights_.hnorm, state, deltas.state_norm,
                      gradients.state);
  return gradients;
}

void MtpModule::backward_weight(const Context& context, const Saved& saved, const Deltas& deltas,
                                MtpWeights& grads) const {
  norm_backward_weight(context, config_.rms_norm_eps, saved.embedding.f32(context), deltas.embedding_norm,
                       grads.enorm);
  norm_backward_weight(context, config_.rms_norm_eps, saved.state.f32(context), deltas.state_norm,
                       grads.hnorm);
  linear_backward_weight(context.without_fp8(), deltas.projected, deltas.joined, grads.eh_proj);
  block_.backward_weight(context, saved.block, deltas.block, grads.block);
  norm_backward_weight(context, config_.rms_norm_eps, saved.output, deltas.output_norm,
                       grads.shared_head_norm);
}

std::vector<std::int32_t> ids_ahead(std::span<const std::int32_t> ids, const Sequences& sequences,
                                    std::int64_t depth) {
  const Sequences shorter = sequences.shortened(depth);
  const std::vector<std::int64_t> positions = shorter.positions();
  std::vector<std::int32_t> ahead;
  ahead.reserve(positions.size());
  std::int64_t first = 0;  // of a sequence's ids
  for (std::int64_t s = 0; s < sequences.count(); ++s) {
    for (std::int64_t i = 0; i < shorter.rows_of(s); ++i)
      ahead.push_back(ids[static_cast<std::size_t>(first + depth + positions[ahead.size()])]);
    first += sequences.length(s);
  }
  return ahead;
}

Tensor drop_last_rows(const Tensor& x, const Sequences& sequences) {
  const Sequences shorter = sequences.shortened(1);
  Tensor kept = Tensor::empty({shorter.tokens(), x.dim(1)});
  copy_sequences(x, sequences, kept, shorter, shorter);
  return kept;
}

Tensor restore_last_rows(const Tensor& dx, const Sequences& sequences) {
  const Sequences shorter = sequences.shortened(1);
  Tensor restored = Tensor::zeros({sequences.tokens(), dx.dim(1)});
  copy_sequences(dx, shorter, restored, sequences, shorter);
  return restored;
}

}  // namespace fathom
