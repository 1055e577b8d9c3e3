#include "train/evaluation.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "dist/collectives.h"
#include "model/balance.h"
#include "model/moe_layers.h"
#include "train/batch_loader.h"

namespace fathom {
namespace {

// Figures of one forward pass, as doubles: whole numbers among them are far below 2^53.
enum PieceFigure : std::size_t {
  kMainNats,    // of the main head
  kMtpNats,     // mean over the modules
  kPassMaxVio,  // mean over the MoE layers
  kTextBytes,   // of the text that was predicted
  kFirstDraft,  // from here on, those of each module
};
constexpr std::size_t kDraftFigures = 4;

}  // namespace

std::int64_t HeldOutText::targets() const {
  return std::accumulate(pieces.begin(), pieces.end(), std::int64_t{0},
                         [](std::int64_t sum, const Piece& piece) { return sum + piece.targets; });
}

std::vector<HeldOutText> held_out_text(std::span<const SourceTokens> sources, std::int64_t sequence_length,
                                       std::int64_t sequences_at_once, std::int64_t targets) {
  std::vector<std::int64_t> counts;
  for (const SourceTokens& source : sources)
    counts.push_back(std::max(std::int64_t{0}, source.tokens.tokens() - 1));
  if (targets > 0) counts = proportional_counts(counts, targets);
  const std::int64_t at_once = sequence_length * sequences_at_once;
  std::vector<HeldOutText> texts;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    HeldOutText& text = texts.emplace_back();
    text.name = sources[i].name;
    for (std::int64_t first = 0; first < counts[i]; first += at_once) {
      const std::int64_t count = std::min(at_once, counts[i] - first);
      text.pieces.push_back({first, count, count});
    }
    text.read = [tokens = &sources[i].tokens, sequence_length](const HeldOutText::Piece& piece) {
      return consecutive_batch(*tokens, piece.first, piece.count, sequence_length);
    };
  }
  return texts;
}

std::vector<HeldOutText> held_out_text(const SampleLoader& samples, std::int64_t packs_at_once,
                                       std::int64_t targets) {
  HeldOutText text;
  text.name = "samples";
  std::int64_t wanted = targets > 0 ? targets : std::numeric_limits<std::int64_t>::max();
  for (std::int64_t first = 0; first < samples.packs_per_epoch() && wanted > 0; first += packs_at_once) {
    const std::int64_t count = std::min(packs_at_once, samples.packs_per_epoch() - first);
    text.pieces.push_back({first, count, samples.targets_of_packs(first, count)});
    wanted -= text.pieces.back().targets;
  }
  text.read = [&samples](const HeldOutText::Piece& piece) { return samples.packs(piece.first, piece.count); };
  return {std::move(text)};
}

Evaluation::Evaluation(std::vector<HeldOutText> texts, const Tokenizer& tokenizer)
    : texts_(std::move(texts)) {
  std::erase_if(texts_, [](const HeldOutText& text) { return text.targets() == 0; });
  for (const HeldOutText& text : texts_) targets_ += text.targets();
  for (std::int64_t id = 0; id < tokenizer.vocab_size(); ++id)
    token_bytes_.push_back(
        tokenizer.is_special(id) ? 0 : static_cast<std::int32_t>(tokenizer.token_bytes(id).size()));
}

void Evaluation::measure(const Measurer& measurer, const Batch& batch, std::span<double> figures,
                         std::span<std::int64_t> load) const {
  const Losses losses = measurer.measure(batch);
  const auto targets = static_cast<double>(losses.targets);
  figures[kMainNats] = losses.main * targets;
  figures[kMtpNats] = mean_of(losses.mtp).value_or(0) * targets;
  if (!losses.expert_load.empty()) figures[kPassMaxVio] = mean_max_violation(losses.expert_load);
  if (losses.targets > 0)  // of a pipeline's ranks, one has them
    for (const std::int32_t target : batch.targets)
      figures[kTextBytes] += target >= 0 ? token_bytes_[static_cast<std::size_t>(target)] : 0;
  for (std::size_t k = 0; k < losses.drafts.size(); ++k) {
    const DraftAcceptance& draft = losses.drafts[k];
    const std::span<double> place = figures.subspan(kFirstDraft + k * kDraftFigures, kDraftFigures);
    place[0] = static_cast<double>(draft.offered);
    place[1] = static_cast<double>(draft.accepted);
    place[2] = draft.sampled_offered;
    place[3] = draft.sampled_accepted;
  }
  auto sum = load.begin();
  for (const std::vector<std::int64_t>& layer : losses.expert_load)
    for (const std::int64_t count : layer) *sum++ += count;
}

EvalMetrics Evaluation::run(const ModelConfig& config, const Measurer& measurer, std::int64_t step,
                            Communicator& ranks) const {
  const auto modules = static_cast<std::size_t>(config.num_nextn_predict_layers);
  const auto experts = static_cast<std::size_t>(config.n_routed_experts);
  const std::size_t layers = count_moe_layers(config);
  const std::size_t width = kFirstDraft + modules * kDraftFigures;
  struct PieceOfText {
    std::size_t text;
    const HeldOutText::Piece& piece;
  };
  std::vector<PieceOfText> pieces;
  for (std::size_t i = 0; i < texts_.size(); ++i)
    for (const HeldOutText::Piece& piece : texts_[i].pieces) pieces.push_back({i, piece});
  // Each of a piece's figures is zero on all ranks but one, so to sum them is to gather them; they are added
  // up piece by piece, whoever measured them. (The mean MaxVio alone has a part on each rank of a pipeline.)
  std::vector<double> figures(pieces.size() * width);
  std::vector<std::int64_t> loads(layers * experts);
  const auto count = static_cast<std::size_t>(measurer.count);
  const auto own = static_cast<std::size_t>(measurer.index);
  for (std::size_t i = own; i < pieces.size(); i += count)
    measure(measurer, texts_[pieces[i].text].read(pieces[i].piece),
            std::span(figures).subspan(i * width, width), loads);
  // In the last turn some have no piece; those that do may need their experts.
  const std::size_t left = pieces.size() % count;
  if (measurer.needs_others_turns && left > 0 && own >= left)
    (void)measurer.measure(Batch{{}, {}, Sequences{{0}}});
  all_sum(ranks, std::span(figures));
  all_sum(ranks, std::span(loads));

  std::vector<double> sums(width);
  std::vector<double> text_nats(texts_.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    for (std::size_t j = 0; j < width; ++j) sums[j] += figures[i * width + j];
    text_nats[pieces[i].text] += figures[i * width + kMainNats];
  }
  EvalMetrics metrics;
  metrics.step = step;
  metrics.tokens = targets_;
  const auto targets = static_cast<double>(targets_);
  const double nats = std::accumulate(text_nats.begin(), text_nats.end(), 0.0);
  metrics.loss = nats / targets;
  for (std::size_t i = 0; i < texts_.size() && texts_.size() > 1; ++i)
    metrics.source_loss.push_back({texts_[i].name, text_nats[i] / static_cast<double>(texts_[i].targets())});
  std::vector<DraftAcceptance> drafts;
  for (std::size_t k = 0; k < modules; ++k) {
    const double* place = sums.data() + kFirstDraft + k * kDraftFigures;
    drafts.push_back(
        {static_cast<std::int64_t>(place[0]), static_cast<std::int64_t>(place[1]), place[2], place[3]});
    metrics.draft_acceptance.push_back(drafts.back().greedy_rate());
    metrics.sampled_draft_acceptance.push_back(drafts.back().sampled_rate());
  }
  if (modules > 0) {
    metrics.mtp_loss = sums[kMtpNats] / targets;
    metrics.tokens_per_step = tokens_per_step(drafts);
  }
  if (sums[kTextBytes] > 0) metrics.bits_per_byte = nats / std::numbers::ln2 / sums[kTextBytes];
  std::vector<std::vector<std::int64_t>> load;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const auto first = loads.begin() + static_cast<std::ptrdiff_t>(layer * experts);
    load.emplace_back(first, first + static_cast<std::ptrdiff_t>(experts));
    metrics.layer_max_vio.push_back(max_violation(load.back()));
  }
  metrics.max_vio = mean_of(metrics.layer_max_vio);
  if (layers > 0) metrics.batch_max_vio = sums[kPassMaxVio] / static_cast<double>(pieces.size());
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
