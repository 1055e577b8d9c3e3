#include "infer/draft_history.h"

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

void DraftHistory::record(const Step& step) {
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
  const auto accepted = static_cast<double>(step.accepted);
  balance_ = std::min(kMostSaved, balance_ + kAllowedLoss * (accepted + 1.0) + accepted - step.extra);
}

}  // namespace fathom
