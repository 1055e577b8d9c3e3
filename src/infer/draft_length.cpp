#include "infer/draft_length.h"

#include <algorithm>
#include <cstddef>

namespace fathom {

AcceptanceEstimate::AcceptanceEstimate(double expected) : expected_(expected) {}

std::vector<double> AcceptanceEstimate::chain(std::int64_t grade, std::int64_t count) const {
  // What is expected counts as so many drafts seen.
  constexpr double kWeight = 2.0;
  const std::vector<Counts>& counts = counts_[static_cast<std::size_t>(grade)];
  std::vector<double> chain;
  double part =
      expected_ + (1.0 - expected_) * static_cast<double>(grade) / static_cast<double>(Drafter::kGrades);
  double all = 1.0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto place = static_cast<std::size_t>(i);
    const Counts seen = place < counts.size() ? counts[place] : Counts{};
    // A place that is little known is expected to be like the one before it.
    part = (seen.accepted + kWeight * part) / (seen.offered + kWeight);
    all *= part;
    chain.push_back(all);
  }
  return chain;
}

void AcceptanceEstimate::record(std::int64_t grade, std::int64_t offered, std::int64_t accepted) {
  constexpr double kKeep = 0.96;  // of a count, each time drafts of the grade are checked
  std::vector<Counts>& counts = counts_[static_cast<std::size_t>(grade)];
  if (counts.size() < static_cast<std::size_t>(offered)) counts.resize(static_cast<std::size_t>(offered));
  for (Counts& seen : counts) seen = {seen.offered * kKeep, seen.accepted * kKeep};
  for (std::int64_t i = 0; i < std::min(offered, accepted + 1); ++i) {
    Counts& seen = counts[static_cast<std::size_t>(i)];
    seen.offered += 1.0;
    seen.accepted += i < accepted ? 1.0 : 0.0;
  }
}

DraftLength::DraftLength(const StepCost& cost, double expected_acceptance, std::int64_t most, bool adaptive)
    : cost_(cost), acceptance_(expected_acceptance), most_(most), adaptive_(adaptive) {}

bool DraftLength::is_covered(double extra) const {
  return extra <= balance_;
}

std::int64_t DraftLength::best(std::span<const double> chain, bool is_drafted, std::int64_t others) const {
  const auto all = static_cast<std::int64_t>(chain.size());
  const auto drafting = [&](std::int64_t count) { return cost_.drafts(is_drafted ? all : count); };
  const double without = cost_.pass(others + 1);
  std::int64_t best = 0;
  auto tokens = static_cast<double>(others + 1);
  double best_rate = tokens / (without + drafting(0));
  for (std::int64_t count = 1; count <= all; ++count) {
    tokens += chain[static_cast<std::size_t>(count) - 1];
    const double cost = cost_.pass(others + 1 + count) + drafting(count);
    if (!is_covered(cost - without)) break;
    if (tokens / cost <= best_rate) continue;
    best = count;
    best_rate = tokens / cost;
  }
  return best;
}

std::int64_t DraftLength::to_draft(std::int64_t room, std::int64_t others) const {
  const std::int64_t most = std::min(most_, room);
  if (most <= 0) return 0;
  if (!adaptive_ || cost_.drafts(most) == 0.0) return most;
  if (cost_.unit_is_old()) return 0;
  const std::int64_t length = best(acceptance_.chain(0, most), false, others);
  const double one = cost_.pass(others + 2) + cost_.drafts(1) - cost_.pass(others + 1);
  return length == 0 && is_time_to_try() && is_covered(one) ? 1 : length;
}

std::int64_t DraftLength::to_check(std::int64_t drafted, std::int64_t grade, std::int64_t others) const {
  if (drafted == 0 || !adaptive_) return drafted;
  if (cost_.unit_is_old()) return 0;
  const std::int64_t length = best(acceptance_.chain(grade, drafted), true, others);
  const double one = cost_.pass(others + 2) - cost_.pass(others + 1);
  return length == 0 && is_time_to_try() && is_covered(one) ? 1 : length;
}

void DraftLength::record(const Step& step) {
  if (step.checked > 0) {
    acceptance_.record(step.grade, step.checked, step.accepted);
    constexpr std::int64_t kLongestPatience = 256;
    patience_ = step.accepted > 0 ? kFirstPatience : std::min(2 * patience_, kLongestPatience);
    steps_without_ = 0;
  } else {
    ++steps_without_;
  }
  // More than this is never owed: a text may turn from easy to hard, and then its end is not to pay for it.
  constexpr double kMostSaved = 4.0;
  const double without = cost_.pass(step.others + 1);
  const double token = without / static_cast<double>(step.others + 1);
  const double extra = cost_.pass(step.others + 1 + step.checked) + step.drafting - without;
  const auto accepted = static_cast<double>(step.accepted);
  balance_ =
      std::min(kMostSaved, balance_ + kAllowedLoss * token * (accepted + 1.0) + token * accepted - extra);
}

}  // namespace fathom
