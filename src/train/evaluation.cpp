#include "train/evaluation.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "model/balance.h"
#include "train/batch_loader.h"

namespace fathom {

Evaluation::Evaluation(std::span<const SourceTokens> sources, const Tokenizer& tokenizer,
                       std::int64_t sequence_length, std::int64_t sequences_at_once, std::int64_t targets)
    : sequence_length_(sequence_length), batch_targets_(sequence_length * sequences_at_once) {
  std::vector<std::int64_t> counts;
  for (const SourceTokens& source : sources)
    counts.push_back(std::max(std::int64_t{0}, source.tokens.tokens() - 1));
  if (targets > 0) counts = proportional_counts(counts, targets);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (counts[i] > 0) parts_.push_back({&sources[i], counts[i]});
    targets_ += counts[i];
  }
  for (std::int64_t id = 0; id < tokenizer.vocab_size(); ++id)
    token_bytes_.push_back(
        tokenizer.is_special(id) ? 0 : static_cast<std::int32_t>(tokenizer.token_bytes(id).size()));
}

EvalMetrics Evaluation::run(const Context& context, const Transformer& model, std::int64_t step) const {
  double nats = 0;
  double mtp_nats = 0;
  std::int64_t bytes = 0;
  std::vector<std::vector<std::int64_t>> load;
  std::vector<DraftAcceptance> drafts;
  std::vector<double> batch_max_vio;
  bool has_mtp = false;
  EvalMetrics metrics;
  for (const Part& part : parts_) {
    double part_nats = 0;
    for (std::int64_t first = 0; first < part.targets; first += batch_targets_) {
      const Batch batch = consecutive_batch(part.source->tokens, first,
                                            std::min(batch_targets_, part.targets - first), sequence_length_);
      const Losses losses = model.forward(context, batch, LossFactors{}, nullptr);
      part_nats += losses.main * static_cast<double>(losses.targets);
      if (const auto mtp = mean_of(losses.mtp)) {
        has_mtp = true;
        mtp_nats += *mtp * static_cast<double>(losses.targets);
      }
      add_load(load, losses.expert_load);
      drafts.resize(losses.drafts.size());
      for (std::size_t k = 0; k < drafts.size(); ++k) drafts[k].add(losses.drafts[k]);
      if (!losses.expert_load.empty()) batch_max_vio.push_back(mean_max_violation(losses.expert_load));
      for (const std::int32_t target : batch.targets) bytes += token_bytes_[static_cast<std::size_t>(target)];
    }
    nats += part_nats;
    if (parts_.size() > 1)
      metrics.source_loss.push_back({part.source->name, part_nats / static_cast<double>(part.targets)});
  }
  metrics.step = step;
  metrics.tokens = targets_;
  const auto count = static_cast<double>(targets_);
  metrics.loss = nats / count;
  if (has_mtp) metrics.mtp_loss = mtp_nats / count;
  for (const DraftAcceptance& draft : drafts) {
    metrics.draft_acceptance.push_back(draft.greedy_rate());
    metrics.sampled_draft_acceptance.push_back(draft.sampled_rate());
  }
  if (has_mtp) metrics.tokens_per_step = tokens_per_step(drafts);
  if (bytes > 0) metrics.bits_per_byte = nats / std::numbers::ln2 / static_cast<double>(bytes);
  for (const std::vector<std::int64_t>& layer : load) metrics.layer_max_vio.push_back(max_violation(layer));
  metrics.max_vio = mean_of(metrics.layer_max_vio);
  metrics.batch_max_vio = mean_of(batch_max_vio);
  metrics.expert_load = relative_load(load);
  return metrics;
}

std::string source_loss_text(std::span<const SourceLoss> sources) {
  std::string text;
  for (const SourceLoss& one : sources)
    text += fmt::format("{}{} {:.4f}", text.empty() ? "" : ", ", printable(one.source), one.loss);
  return text;
}

std::vector<std::int64_t> proportional_counts(std::span<const std::int64_t> sizes, std::int64_t wanted) {
  std::int64_t left = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  auto filled_after = std::count_if(sizes.begin(), sizes.end(), [](std::int64_t size) { return size > 0; });
  wanted = std::min(wanted, left);
  std::vector<std::int64_t> counts;
  for (const std::int64_t size : sizes) {
    filled_after -= size > 0 ? 1 : 0;
    const double part = left > 0 ? static_cast<double>(size) / static_cast<double>(left) : 0;
    const std::int64_t fair = std::llround(static_cast<double>(wanted) * part);
    // One each is left to those that follow; what they cannot give has to come from here.
    const std::int64_t most = std::min(size, std::max(std::int64_t{0}, wanted - filled_after));
    const std::int64_t least = std::max(std::min(std::int64_t{1}, most), wanted - (left - size));
    counts.push_back(std::clamp(fair, least, most));
    wanted -= counts.back();
    left -= size;
  }
  return counts;
}

std::vector<std::vector<double>> relative_load(const std::vector<std::vector<std::int64_t>>& load) {
  std::vector<std::vector<double>> relative;
  for (const std::vector<std::int64_t>& layer : load) {
    const auto total = static_cast<double>(std::accumulate(layer.begin(), layer.end(), std::int64_t{0}));
    std::vector<double>& row = relative.emplace_back();
    for (const std::int64_t count : layer)
      row.push_back(total > 0 ? static_cast<double>(count) * static_cast<double>(layer.size()) / total : 0.0);
  }
  return relative;
}

void add_load(std::vector<std::vector<std::int64_t>>& sum,
              const std::vector<std::vector<std::int64_t>>& load) {
  if (sum.empty()) sum.resize(load.size());
  for (std::size_t layer = 0; layer < load.size(); ++layer) {
    sum[layer].resize(load[layer].size());
    for (std::size_t i = 0; i < load[layer].size(); ++i) sum[layer][i] += load[layer][i];
  }
}

std::optional<double> mean_of(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace fathom
