#include "infer/lookup_drafter.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>

namespace fathom {
namespace {

constexpr std::int64_t kLongestSuffix = 16;  // longer ones say nothing more
constexpr int kMostOccurrences = 64;         // of the last two tokens that are looked at, the newest first

/// A text and where each pair of neighbours last occurred in it.
class LookupText : public Drafter::State {
 public:
  void push(std::int32_t token) {
    const auto place = static_cast<std::int64_t>(tokens_.size());
    tokens_.push_back(token);
    std::int64_t before = -1;
    if (place > 0) {
      const auto [found, is_new] = newest_.try_emplace(pair_at(place), place);
      if (!is_new) before = std::exchange(found->second, place);
    }
    before_.push_back(before);
  }

  /// The last token goes.
  void pop() {
    const std::int64_t before = before_.back();
    const auto place = static_cast<std::int64_t>(tokens_.size()) - 1;
    if (before >= 0) {
      newest_[pair_at(place)] = before;
    } else if (place > 0) {
      newest_.erase(pair_at(place));
    }
    before_.pop_back();
    tokens_.pop_back();
  }

  struct Match {
    std::int64_t end = -1;  // place of its last token
    std::int64_t length = 0;
  };
  /// The longest suffix, to a limit, that has occurred before; of equal ones the newest.
  [[nodiscard]] Match longest_match() const {
    Match best;
    std::int64_t place = before_.empty() ? -1 : before_.back();
    for (int looked = 0; place >= 0 && looked < kMostOccurrences && best.length < kLongestSuffix; ++looked) {
      const std::int64_t length = common_suffix(place);
      if (length > best.length) best = {place, length};
      place = before_[static_cast<std::size_t>(place)];
    }
    return best;
  }

  [[nodiscard]] const std::vector<std::int32_t>& tokens() const { return tokens_; }

 private:
  [[nodiscard]] std::uint64_t pair_at(std::int64_t place) const {
    const auto at = static_cast<std::size_t>(place);
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(tokens_[at - 1])) << 32U) |
           static_cast<std::uint32_t>(tokens_[at]);
  }
  /// Tokens up to `place` that are also the text's last ones.
  [[nodiscard]] std::int64_t common_suffix(std::int64_t place) const {
    const auto last = static_cast<std::int64_t>(tokens_.size()) - 1;
    std::int64_t length = 0;
    while (length < kLongestSuffix && length <= place &&
           tokens_[static_cast<std::size_t>(place - length)] ==
               tokens_[static_cast<std::size_t>(last - length)])
      ++length;
    return length;
  }

  std::vector<std::int32_t> tokens_;
  std::vector<std::int64_t> before_;  // [tokens] where the pair that ends there occurred before; -1: nowhere
  std::unordered_map<std::uint64_t, std::int64_t> newest_;  // of a pair, the place of its second token
};

/// Suffixes of 2, 3, 4 to 7, and 8 or more tokens.
std::int64_t grade_of_length(std::int64_t length) {
  return length >= 8 ? 3 : length >= 4 ? 2 : length - 2;
}

}  // namespace

std::unique_ptr<Drafter::State> LookupDrafter::begin(std::int64_t /*capacity*/) const {
  return std::make_unique<LookupText>();
}

std::int64_t LookupDrafter::bytes_per_token() const {
  constexpr std::int64_t kOfIndex = 48;  // a node of a hash map, and its bucket
  return static_cast<std::int64_t>(sizeof(std::int32_t) + sizeof(std::int64_t)) + kOfIndex;
}

void LookupDrafter::read(State& state, std::span<const std::int32_t> tokens, const Tensor& /*hidden*/) const {
  for (const std::int32_t token : tokens) static_cast<LookupText&>(state).push(token);
}

void LookupDrafter::draft(const Context& /*context*/, std::span<Job> jobs) const {
  for (Job& job : jobs) {
    auto& text = static_cast<LookupText&>(job.state);
    text.push(job.next);
    job.drafts.clear();
    if (const LookupText::Match match = text.longest_match(); match.length >= 2) {
      const std::vector<std::int32_t>& tokens = text.tokens();
      job.grade = grade_of_length(match.length);
      // A text that repeats itself goes on behind its own end with what has been drafted.
      for (std::int64_t i = 0; i < job.count; ++i) {
        const auto from = static_cast<std::size_t>(match.end + 1 + i);
        job.drafts.push_back(from < tokens.size() ? tokens[from] : job.drafts[from - tokens.size()]);
      }
    }
    text.pop();
  }
}

}  // namespace fathom
