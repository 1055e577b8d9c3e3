// The choice of how far to draft, on a clock of the test's own.
#include "infer/draft_length.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

/// Costs what it is told to, and does nothing.
class PricedDrafter : public Drafter {
 public:
  explicit PricedDrafter(double price) : price_(price) {}
  [[nodiscard]] std::unique_ptr<State> begin(std::int64_t) const override { return nullptr; }
  void read(State&, std::span<const std::int32_t>, const Tensor&) const override {}
  void draft(const Context&, std::span<Job>) const override {}
  [[nodiscard]] std::int64_t bytes_per_token() const override { return 0; }
  [[nodiscard]] double cost_of_draft() const override { return price_; }
  [[nodiscard]] double expected_acceptance() const override { return 0.7; }

 private:
  double price_;
};

/// A model whose passes and drafts take as long as a test says, and a text whose drafts are accepted as
/// often.
struct Machine {
  double first_pass = 1.0;  // to what it usually takes
  std::function<double(std::int64_t)> pass = [](std::int64_t tokens) {
    return 0.7 + 0.3 * static_cast<double>(tokens);
  };
  double draft = 0.1;  // seconds each
  double together =
      1.0;  // of them, where several texts have theirs together: 0 where only the first one takes time
  std::function<double(std::int64_t step)> acceptance = [](std::int64_t) { return 0.8; };
  double noise = 0;

  [[nodiscard]] double drafting(std::span<const std::int64_t> lengths) const {
    double seconds = 0;
    for (std::int64_t depth = 1; depth <= std::ranges::max(lengths); ++depth) {
      const auto texts = std::ranges::count_if(lengths, [&](std::int64_t length) { return length >= depth; });
      seconds += draft * (1.0 + together * static_cast<double>(texts - 1));
    }
    return seconds;
  }
};

struct Simulated {
  double seconds = 0;
  double plain_seconds = 0;  // that the same tokens would have taken, one of each text a pass
  std::int64_t tokens = 0;
  std::vector<std::int64_t> lengths;  // checked, of all texts, [steps]
  [[nodiscard]] double speedup() const { return plain_seconds / seconds; }
};

constexpr std::int64_t kMostDrafts = 7;
constexpr std::array<std::int64_t, 1> kOne = {1};  // draft of one text

/// Texts that begin together, until they have so many tokens each on average.
Simulated simulate(const Machine& machine, std::int64_t tokens, std::int64_t texts = 1) {
  const PricedDrafter drafter(0.1);
  StepCost cost(test::tiny_v3(), drafter);
  const auto count = static_cast<std::size_t>(texts);
  std::vector<DraftHistory> histories(count, DraftHistory(drafter.expected_acceptance()));
  Rng rng(5);
  const auto noisy = [&](double seconds) { return seconds * (1.0 + machine.noise * (rng.uniform() - 0.5)); };
  Simulated simulated;
  while (simulated.tokens < texts * tokens) {
    std::vector<DraftingText> wishes;
    const std::int64_t room = tokens - simulated.tokens / texts - 1;
    for (const DraftHistory& history : histories) wishes.push_back({history, std::min(room, kMostDrafts)});
    const std::vector<std::int64_t> drafted = lengths_to_draft(cost, wishes, 0);
    const double drafting = noisy(machine.drafting(drafted));
    cost.record_drafts(drafted, drafting);
    const std::vector<double> parts = cost.drafting(drafted);
    for (std::size_t i = 0; i < count; ++i) {
      wishes[i].most = drafted[i];
      wishes[i].drafting = parts[i];
    }
    const std::vector<std::int64_t> checked = lengths_to_check(cost, wishes, 0);
    const std::int64_t all = std::accumulate(checked.begin(), checked.end(), std::int64_t{0});
    const double usual = noisy(machine.pass(texts + all));
    const double pass = simulated.lengths.empty() ? machine.first_pass * usual : usual;
    cost.record_pass(texts + all, all, pass);
    const auto step_index = static_cast<std::int64_t>(simulated.lengths.size());
    const double token = cost.pass(texts) / static_cast<double>(texts);
    for (std::size_t i = 0; i < count; ++i) {
      DraftHistory::Step step{.checked = checked[i]};
      while (step.accepted < step.checked && rng.uniform() < machine.acceptance(step_index)) ++step.accepted;
      step.extra = parts[i];
      if (all > 0)
        step.extra += (cost.pass(texts + all) - cost.pass(texts)) * static_cast<double>(checked[i]) /
                      static_cast<double>(all);
      step.extra /= token;
      histories[i].record(step);
      simulated.tokens += step.accepted + 1;
      simulated.plain_seconds +=
          machine.pass(texts) / static_cast<double>(texts) * static_cast<double>(step.accepted + 1);
    }
    simulated.seconds += drafting + pass;
    simulated.lengths.push_back(all);
  }
  return simulated;
}

/// Tokens a second of the best fixed length, against one token a pass.
double best_speedup(const Machine& machine) {
  double best = 1.0;
  for (std::int64_t count = 1; count <= kMostDrafts; ++count) {
    double tokens = 1.0;
    double all = 1.0;
    for (std::int64_t i = 0; i < count; ++i) tokens += all *= machine.acceptance(0);
    const double seconds = machine.pass(count + 1) + machine.draft * static_cast<double>(count);
    best = std::max(best, tokens * machine.pass(1) / seconds);
  }
  return best;
}

TEST(DraftLengthTest, ComesNearTheBestLengthWhateverPassesCost) {
  for (const double acceptance : {0.95, 0.8, 0.6, 0.4}) {
    for (const double further : {0.05, 0.2, 0.5, 0.8}) {
      for (const double noise : {0.0, 0.4}) {
        Machine machine;
        machine.acceptance = [=](std::int64_t) { return acceptance; };
        machine.pass = [=](std::int64_t tokens) { return 1.0 + further * static_cast<double>(tokens - 1); };
        machine.noise = noise;
        EXPECT_GT(simulate(machine, 3000).speedup(), 0.92 * best_speedup(machine))
            << acceptance << " accepted, a further token costs " << further << ", noise " << noise;
      }
    }
  }
}

TEST(DraftLengthTest, NeverCostsMoreThanItsAllowanceWhenAllDraftsAreRefused) {
  Machine machine;
  machine.acceptance = [](std::int64_t) { return 0.0; };
  for (const double further : {0.1, 0.5, 1.0}) {
    machine.pass = [=](std::int64_t tokens) { return 1.0 + further * static_cast<double>(tokens - 1); };
    for (const std::int64_t tokens : {40, 100, 1000}) {
      const double extra = simulate(machine, tokens).seconds - static_cast<double>(tokens);
      // Before passes have been measured, one may cost more than was guessed.
      const double surprise = 0.2 + 2.0 * std::max(0.0, further - 0.3);
      EXPECT_LE(extra, DraftHistory::kAllowedStake + surprise +
                           DraftHistory::kAllowedLoss * static_cast<double>(tokens))
          << tokens << " tokens, a further one costs " << further;
    }
  }
}

TEST(DraftLengthTest, AFirstPassThatIsSlowDoesNotMakeDraftsLookCheap) {
  Machine machine;
  machine.first_pass = 1.6;
  machine.acceptance = [](std::int64_t) { return 0.4; };
  machine.pass = [](std::int64_t tokens) { return 1.0 + 0.4 * static_cast<double>(tokens - 1); };
  machine.draft = 0.3;  // a draft costs 0.7, and yields 0.4
  for (const std::int64_t tokens : {256, 512})
    EXPECT_GT(simulate(machine, tokens).speedup(), 0.97) << tokens << " tokens";
}

TEST(DraftLengthTest, WhatADrafterHasMissedIsPaidForBeforeItIsAskedAgain) {
  const auto lengths = [](double missed) {
    StepCost cost(test::tiny_v3(), PricedDrafter(0.1));
    for (int i = 0; i < 30; ++i) {
      cost.record_pass(1, 0, 1.0);
      cost.record_pass(2, 1, 1.3);
      cost.record_drafts(kOne, 0.1);
      cost.record_resuming(kOne, 0.1 + missed);
    }
    const DraftHistory history(0.7);
    const std::vector<DraftingText> goes_on = {{history, 1}};
    const std::vector<DraftingText> resumes = {{history, 1, 0, true}};
    EXPECT_EQ(lengths_to_draft(cost, goes_on, 0)[0], 1);
    return std::pair(lengths_to_draft(cost, resumes, 0)[0], cost.resuming());
  };
  EXPECT_EQ(lengths(0.1).first, 1);
  EXPECT_EQ(lengths(0.4).first, 0) << "0.7 tokens are expected, for 0.8 of time";
  EXPECT_EQ(lengths(20.0).second, 0.5) << "one wild measurement does not end drafting for good";
}

TEST(DraftLengthTest, ATextIsTriedWhateverAskingItsDrafterAgainTook) {
  StepCost cost(test::tiny_v3(), PricedDrafter(0.1));
  for (int i = 0; i < 30; ++i) {
    cost.record_pass(1, 0, 1.0);
    cost.record_pass(2, 1, 1.6);
    cost.record_drafts(kOne, 0.3);
    cost.record_resuming(kOne, 9.0);
  }
  DraftHistory history(0.7);
  std::int64_t drafts = 0;
  for (int step = 0; step < 10; ++step) {
    drafts += lengths_to_draft(cost, std::vector<DraftingText>{{history, 1, 0, true}}, 0)[0];
    history.record({});
  }
  EXPECT_GT(drafts, 0);
}

TEST(DraftLengthTest, NeverFallsBelow97PercentOnTextsThatChange) {
  Machine machine;
  machine.noise = 0.3;
  // Easy and hard stretches in turn, the worst for whoever learns from the past.
  for (const std::int64_t stretch : {3, 10, 40, 150}) {
    machine.acceptance = [=](std::int64_t step) { return step / stretch % 2 == 0 ? 0.95 : 0.0; };
    EXPECT_GT(simulate(machine, 600).speedup(), 0.97) << "stretches of " << stretch;
  }
}

TEST(DraftLengthTest, DraftsAgainWhereATextBecomesEasier) {
  Machine machine;
  machine.acceptance = [](std::int64_t step) { return step < 300 ? 0.0 : 0.9; };
  const Simulated simulated = simulate(machine, 3000);
  const auto late = simulated.lengths.end() - 50;
  EXPECT_GT(std::accumulate(late, simulated.lengths.end(), std::int64_t{0}), 100);
}

/// Passes of a mixture of experts: dear tokens while few experts are read, cheap ones when most are, and
/// from `full` tokens on arithmetic alone.
double mixture_pass(std::int64_t tokens, double full) {
  const auto count = static_cast<double>(tokens);
  return std::max(0.3 + 0.7 * distinct_experts(64, 6, tokens) / 6.0, count / full * 7.0);
}

TEST(DraftLengthTest, BatchesAreNeverSlowedByMoreThanTheAllowance) {
  for (const double acceptance : {0.0, 0.5, 0.9})
    for (const std::int64_t texts : {2, 8, 32, 63, 64, 200})
      for (const double full : {16.0, 48.0}) {
        Machine machine;
        machine.pass = [=](std::int64_t tokens) { return mixture_pass(tokens, full); };
        machine.acceptance = [=](std::int64_t) { return acceptance; };
        machine.noise = 0.1;
        EXPECT_GT(simulate(machine, 300, texts).speedup(), 0.97)
            << texts << " texts, " << acceptance << " accepted, full at " << full;
      }
}

TEST(DraftLengthTest, AFullBatchDraftsNothingAndAFewTextsDo) {
  Machine machine;
  machine.pass = [](std::int64_t tokens) { return mixture_pass(tokens, 16.0); };
  const auto drafts_of = [&](std::int64_t texts) {
    const Simulated simulated = simulate(machine, 300, texts);
    const std::int64_t drafts =
        std::accumulate(simulated.lengths.begin(), simulated.lengths.end(), std::int64_t{0});
    return static_cast<double>(drafts) / static_cast<double>(simulated.tokens);
  };
  EXPECT_EQ(drafts_of(64), 0.0);
  EXPECT_LT(drafts_of(40), 0.03) << "tried now and then";
  machine.pass = [](std::int64_t tokens) { return 1.0 + 0.1 * static_cast<double>(tokens - 1); };
  machine.draft = 0.02;
  machine.acceptance = [](std::int64_t) { return 0.9; };
  EXPECT_GT(simulate(machine, 300, 3).speedup(), 1.4);
}

TEST(DraftLengthTest, DraftsGoToTheTextsThatTheySucceedWith) {
  const PricedDrafter drafter(0.02);
  StepCost cost(test::tiny_v3(), drafter);
  for (int i = 0; i < 20; ++i) {
    cost.record_pass(2, 0, 1.0);
    for (std::int64_t tokens = 3; tokens < 12; ++tokens)
      cost.record_pass(tokens, tokens - 2, 1.0 + 0.15 * static_cast<double>(tokens - 2));
  }
  cost.record_pass(2, 0, 1.0);
  DraftHistory easy(0.7);
  DraftHistory hard(0.7);
  for (int i = 0; i < 30; ++i) {
    easy.record({.checked = 4, .accepted = 4});
    hard.record({.checked = 4, .accepted = 0});
  }
  const std::vector<DraftingText> texts = {{hard, 7}, {easy, 7}, {easy, 2}};
  const std::vector<std::int64_t> lengths = lengths_to_draft(cost, texts, 0);
  EXPECT_EQ(lengths[0], 0);
  EXPECT_GE(lengths[1], 4);
  EXPECT_EQ(lengths[2], 2) << "there is room for no more";
}

TEST(AcceptanceEstimateTest, FollowsWhatBecomesOfDraftsOfEachGradeAndPlace) {
  AcceptanceEstimate estimate(0.5);
  EXPECT_DOUBLE_EQ(estimate.chain(0, 2)[0], 0.5);
  EXPECT_GT(estimate.chain(3, 1)[0], estimate.chain(0, 1)[0]);
  for (int i = 0; i < 200; ++i) {
    estimate.record(0, 3, 1);  // the first is always accepted, the second never
    estimate.record(1, 1, 0);
  }
  const std::vector<double> chain = estimate.chain(0, 3);
  EXPECT_GT(chain[0], 0.95);
  EXPECT_LT(chain[1], 0.1);
  EXPECT_LE(chain[2], chain[1]);
  EXPECT_LT(estimate.chain(1, 1)[0], 0.1);
}

TEST(StepCostTest, AtFirstAPassCostsTheWeightsThatItReads) {
  // 8 experts, 3 of them for each token: two tokens are sent to 8 · (1 - (5/8)²) = 4.875 on average.
  EXPECT_NEAR(distinct_experts(8, 3, 1), 3.0, 1e-12);
  EXPECT_NEAR(distinct_experts(8, 3, 2), 4.875, 1e-12);
  const StepCost cost(test::tiny_v3(), PricedDrafter(0.1));
  EXPECT_DOUBLE_EQ(cost.pass(1), 1.0);
  EXPECT_GT(cost.pass(2), 1.0);
  EXPECT_LT(cost.pass(2), 2.0);
  for (std::int64_t tokens = 2; tokens < 16; ++tokens) EXPECT_GT(cost.pass(tokens + 1), cost.pass(tokens));
  EXPECT_DOUBLE_EQ(cost.drafts_of(1), 0.1);
  EXPECT_LT(cost.drafts_of(3), 0.3) << "what drafts share is read once";
}

TEST(StepCostTest, ThenWhatIsMeasured) {
  StepCost cost(test::tiny_v3(), PricedDrafter(0.1));
  const double guessed = cost.pass(8);
  for (int i = 0; i < 50; ++i) {
    cost.record_pass(1, 0, 0.2);
    cost.record_pass(2, 1, 0.21);
    cost.record_drafts(kOne, 0.05);
  }
  EXPECT_NEAR(cost.unit(), 0.2, 1e-9);
  EXPECT_NEAR(cost.pass(2), 1.05, 1e-6);
  EXPECT_NEAR(cost.drafts_of(1), 0.25, 1e-3);
  EXPECT_LT(cost.pass(8), guessed);  // what has not been measured is scaled like what has
}

TEST(StepCostTest, DraftsOfSeveralTextsCostWhatTheyTakeTogether) {
  StepCost cost(test::tiny_v3(), PricedDrafter(0.1));
  const std::vector<std::int64_t> lengths = {3, 1, 0, 1};
  for (int i = 0; i < 80; ++i) {
    cost.record_pass(1, 0, 1.0);
    cost.record_drafts(kOne, 0.1);      // one text's
    cost.record_drafts(lengths, 0.38);  // of three texts, then of one, and of one
  }
  EXPECT_NEAR(cost.drafts_of(1), 0.1, 0.005);
  EXPECT_NEAR(cost.drafts_of(3), 0.18, 0.015);
  const std::vector<double> parts = cost.drafting(lengths);
  EXPECT_DOUBLE_EQ(parts[1], cost.drafts_of(3) / 3.0);
  EXPECT_DOUBLE_EQ(parts[0], parts[1] + 2.0 * cost.drafts_of(1));
  EXPECT_EQ(parts[2], 0.0);
}

TEST(StepCostTest, PassesOverSeveralTextsAreMeasuredToo) {
  StepCost cost(test::tiny_v3(), PricedDrafter(0.1));
  for (int i = 0; i < 50; ++i) {
    cost.record_pass(1, 0, 0.2);
    cost.record_pass(8, 0, 0.5);
    cost.record_pass(10, 2, 0.6);
  }
  EXPECT_NEAR(cost.pass(8), 2.5, 0.1);
  EXPECT_NEAR(cost.pass(10), 3.0, 0.1);
}

TEST(StepCostTest, ACacheThatGrowsMakesDraftsNoDearer) {
  StepCost cost(test::tiny_v3(), PricedDrafter(0.1));
  double speed = 1.0;
  for (int i = 0; i < 400; ++i, speed *= 1.002) {
    cost.record_pass(i % 4 == 0 ? 1 : 3, i % 4 == 0 ? 0 : 2, speed * (i % 4 == 0 ? 1.0 : 1.5));
  }
  EXPECT_NEAR(cost.pass(3), 1.5, 0.06);
}

}  // namespace
}  // namespace fathom
