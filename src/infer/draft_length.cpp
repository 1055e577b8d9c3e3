#include "infer/draft_length.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <queue>
#include <utility>

namespace fathom {
namespace {

/// The lengths of one pass in the making.
class LengthChoice {
 public:
  /// @param is_drafted  the texts' drafts have been made, and cost no more
  LengthChoice(const StepCost& cost, std::span<const DraftingText> texts, std::int64_t others,
               bool is_drafted)
      : cost_(cost),
        texts_(texts),
        is_drafted_(is_drafted),
        plain_tokens_(others + static_cast<std::int64_t>(texts.size())),
        plain_cost_(cost.pass(plain_tokens_)),
        lengths_(texts.size()) {}

  std::vector<std::int64_t> choose() && {
    take_best();
    std::int64_t drafts = std::accumulate(lengths_.begin(), lengths_.end(), std::int64_t{0});
    std::int64_t drafting = std::ranges::count_if(lengths_, [](std::int64_t length) { return length > 0; });
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      if (lengths_[i] > 0 || texts_[i].most == 0 || !is_to_be_tried(texts_[i], drafts, drafting)) continue;
      lengths_[i] = 1;
      ++drafts;
      ++drafting;
    }
    return std::move(lengths_);
  }

 private:
  /// What a draft costs if so many texts have one as deep already.
  [[nodiscard]] double drafting(std::int64_t others) const {
    return is_drafted_ ? 0.0 : std::max(0.0, cost_.drafts_of(others + 1) - cost_.drafts_of(others));
  }
  /// What its first draft costs besides.
  [[nodiscard]] double resuming(const DraftingText& text) const {
    return text.is_resuming && !is_drafted_ ? cost_.resuming() : 0.0;
  }
  /// The time that a token takes without drafts.
  [[nodiscard]] double token() const { return plain_cost_ / static_cast<double>(plain_tokens_); }

  /// Drafts are added one by one, likely ones first, and those stay up to which the rate is best.
  void take_best() {
    std::vector<std::vector<double>> chains;
    std::vector<double> extra(texts_.size());  // of each text
    std::priority_queue<std::pair<double, std::size_t>> next;
    double made = 0;
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      chains.push_back(texts_[i].history.chain(texts_[i].grade, texts_[i].most));
      if (!chains[i].empty()) next.emplace(chains[i].front(), i);
      extra[i] = texts_[i].drafting;
      made += extra[i];
    }
    // By chance measured costs make drafts look worth it that are not: so a gain has to be a clear one.
    const double least_gain = is_drafted_ ? 1.0 : 1.01;
    std::vector<std::int64_t> lengths(texts_.size());
    std::vector<std::int64_t> deep;  // [depth] texts with a draft there
    auto tokens = static_cast<double>(plain_tokens_);
    double cost = plain_cost_ + made;
    double best_rate = tokens / cost * least_gain;
    std::int64_t drafts = 0;
    while (!next.empty() && plain_tokens_ + drafts < StepCost::kMostTokens) {
      const auto [likelihood, i] = next.top();
      next.pop();
      const auto depth = static_cast<std::size_t>(lengths[i]);
      if (deep.size() == depth) deep.push_back(0);
      const double further = cost_.pass(plain_tokens_ + drafts + 1) - cost_.pass(plain_tokens_ + drafts) +
                             drafting(deep[depth]) + (depth == 0 ? resuming(texts_[i]) : 0.0);
      if (!texts_[i].history.covers((extra[i] + further) / token())) continue;
      ++drafts;
      ++lengths[i];
      ++deep[depth];
      extra[i] += further;
      cost += further;
      tokens += likelihood;
      if (tokens / cost > best_rate) {
        best_rate = tokens / cost;
        lengths_ = lengths;
      }
      const auto place = static_cast<std::size_t>(lengths[i]);
      if (place < chains[i].size()) next.emplace(chains[i][place], i);
    }
  }

  /// @param drafts          that the pass reads already
  /// @param drafting_texts  whose they are
  [[nodiscard]] bool is_to_be_tried(const DraftingText& text, std::int64_t drafts,
                                    std::int64_t drafting_texts) const {
    // Costs are measured, and not to be relied on to the last: what could not pay by so much is not tried.
    constexpr double kHopeless = 1.5;
    const std::int64_t tokens = plain_tokens_ + drafts;
    const double usual = cost_.pass(tokens + 1) - cost_.pass(tokens) + drafting(drafting_texts);
    const double now = usual + resuming(text) + text.drafting;
    return usual / token() < kHopeless && text.history.is_time_to_try() && text.history.covers(now / token());
  }

  const StepCost& cost_;
  std::span<const DraftingText> texts_;
  bool is_drafted_;
  std::int64_t plain_tokens_;
  double plain_cost_;
  std::vector<std::int64_t> lengths_;  // [texts]
};

/// Whether the next pass is to have no drafts: it reads so many tokens that one more costs what one costs, or
/// is to measure what passes without drafts cost.
bool goes_without(const StepCost& cost, std::span<const DraftingText> texts, std::int64_t others) {
  return others + static_cast<std::int64_t>(texts.size()) >= StepCost::kMostTokens || cost.unit_is_old();
}

}  // namespace

std::vector<std::int64_t> lengths_to_draft(const StepCost& cost, std::span<const DraftingText> texts,
                                           std::int64_t others) {
  std::vector<std::int64_t> lengths;
  for (const DraftingText& text : texts) lengths.push_back(text.most);
  const std::int64_t longest = lengths.empty() ? 0 : std::ranges::max(lengths);
  if (longest == 0) return lengths;
  if (goes_without(cost, texts, others)) return std::vector<std::int64_t>(texts.size());
  if (cost.drafts_of(1) == 0.0) return lengths;  // to be chosen from when they are known
  return LengthChoice(cost, texts, others, false).choose();
}

std::vector<std::int64_t> lengths_to_check(const StepCost& cost, std::span<const DraftingText> texts,
                                           std::int64_t others) {
  if (goes_without(cost, texts, others)) return std::vector<std::int64_t>(texts.size());
  return LengthChoice(cost, texts, others, true).choose();
}

}  // namespace fathom
