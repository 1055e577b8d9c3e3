// The choice of how far to draft, on a clock of the test's own.
#include "infer/draft_length.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
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
  [[nodiscard]] double cost(std::int64_t count) const override { return price_ * static_cast<double>(count); }
  [[nodiscard]] double expected_acceptance() const override { return 0.7; }

 private:
  double price_;
};

/// A model whose passes and drafts take as long as a test says, and a text whose drafts are accepted as
/// often.
struct Machine {
  std::function<double(std::int64_t)> pass = [](std::int64_t tokens) {
    return 0.7 + 0.3 * static_cast<double>(tokens);
  };
  double draft = 0.1;  // seconds each
  std::function<double(std::int64_t step)> acceptance = [](std::int64_t) { return 0.8; };
  double noise = 0;
};

struct Simulated {
  double seconds = 0;
  double plain_seconds = 0;  // that the same tokens would have taken, one a pass
  std::int64_t tokens = 0;
  std::vector<std::int64_t> lengths;  // checked, [steps]
  [[nodiscard]] double speedup() const { return plain_seconds / seconds; }
};

constexpr std::int64_t kMostDrafts = 7;

Simulated simulate(const Machine& machine, std::int64_t tokens, bool adaptive = true,
                   std::int64_t most = kMostDrafts) {
  const PricedDrafter drafter(0.1);
  StepCost cost(test::tiny_v3(), drafter);
  DraftLength length(cost, drafter.expected_acceptance(), most, adaptive);
  Rng rng(5);
  const auto noisy = [&](double seconds) { return seconds * (1.0 + machine.noise * (rng.uniform() - 0.5)); };
  Simulated simulated;
  while (simulated.tokens < tokens) {
    DraftLength::Step step;
    step.drafted = length.to_draft(tokens - simulated.tokens - 1);
    const double drafting = noisy(machine.draft * static_cast<double>(step.drafted));
    step.drafting = cost.drafts(step.drafted);
    if (step.drafted > 0) cost.record_drafts(step.drafted, drafting);
    step.checked = length.to_check(step.drafted, 0);
    const auto step_index = static_cast<std::int64_t>(simulated.lengths.size());
    while (step.accepted < step.checked && rng.uniform() < machine.acceptance(step_index)) ++step.accepted;
    const double pass = noisy(machine.pass(step.checked + 1));
    cost.record_pass(step.checked + 1, step.checked, pass);
    length.record(step);
    simulated.seconds += drafting + pass;
    simulated.tokens += step.accepted + 1;
    simulated.plain_seconds += machine.pass(1) * static_cast<double>(step.accepted + 1);
    simulated.lengths.push_back(step.checked);
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
        EXPECT_GT(simulate(machine, 3000).speedup(), 0.93 * best_speedup(machine))
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
      EXPECT_LE(extra, DraftLength::kAllowedStake + surprise +
                           DraftLength::kAllowedLoss * static_cast<double>(tokens))
          << tokens << " tokens, a further one costs " << further;
    }
  }
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

TEST(DraftLengthTest, AFixedLengthIsKeptWithinTheRoom) {
  const Simulated simulated = simulate({}, 200, /*adaptive=*/false, 3);
  EXPECT_EQ(simulated.lengths.front(), 3);
  EXPECT_LE(simulated.tokens, 200);
  EXPECT_EQ(*std::ranges::max_element(simulated.lengths), 3);
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
  EXPECT_DOUBLE_EQ(cost.drafts(3), 0.3);
}

TEST(StepCostTest, ThenWhatIsMeasured) {
  StepCost cost(test::tiny_v3(), PricedDrafter(0.1));
  const double guessed = cost.pass(8);
  for (int i = 0; i < 50; ++i) {
    cost.record_pass(1, 0, 0.2);
    cost.record_pass(2, 1, 0.21);
    cost.record_drafts(1, 0.05);
  }
  EXPECT_NEAR(cost.unit(), 0.2, 1e-9);
  EXPECT_NEAR(cost.pass(2), 1.05, 1e-6);
  EXPECT_NEAR(cost.drafts(1), 0.25, 1e-3);
  EXPECT_LT(cost.pass(8), guessed);  // what has not been measured is scaled like what has
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
