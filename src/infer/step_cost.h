#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "infer/drafter.h"
#include "model/config.h"

namespace fathom {

/// Expected experts that `tokens` tokens are sent to in a layer, each to `chosen` of `experts` drawn evenly.
double distinct_experts(std::int64_t experts, std::int64_t chosen, std::int64_t tokens);

/// What passes of the model and drafts cost, in passes over one token. At first a guess by what must be read:
/// every weight that all tokens share once, and of the experts those that some token is sent to, which for a
/// few tokens grows almost with their number. Then what is measured takes its place, forgetting slowly.
///
/// Times are compared with those of passes without drafts nearby, so that neither a machine that slows down
/// nor a cache that grows looks like a cost of drafting.
class StepCost {
 public:
  static constexpr std::int64_t kMostTokens = 64;  // of one pass that have a figure of their own

  StepCost(const ModelConfig& config, const Drafter& drafter);

  /// Of a pass over so many tokens; pass(1) is 1.
  [[nodiscard]] double pass(std::int64_t tokens) const;
  /// Of one further draft for each of so many texts, which a drafter makes together: what they share is read
  /// once.
  [[nodiscard]] double drafts_of(std::int64_t texts) const;
  /// Each text's part of what drafts cost: lengths.size() texts, so many drafts each.
  [[nodiscard]] std::vector<double> drafting(std::span<const std::int64_t> lengths) const;

  /// What a text's first drafts cost more than others, when it has had none for a while: the drafter reads
  /// what it has missed. It is measured so seldom that no more than half a pass of it counts: a wild
  /// measurement must not end drafting for good.
  [[nodiscard]] double resuming() const { return std::min(resuming_.value, kMostResuming); }

  /// Of drafts that took so long and usually cost so much; a wild measurement counts as less wild.
  [[nodiscard]] double drafts_measured(double usual, double seconds) const;

  /// Of all texts together. @param drafts  how many of the tokens were
  void record_pass(std::int64_t tokens, std::int64_t drafts, double seconds);
  /// @param lengths  drafts of each text
  void record_drafts(std::span<const std::int64_t> lengths, double seconds);
  /// Of drafts behind a pause, of all these texts.
  void record_resuming(std::span<const std::int64_t> lengths, double seconds);

  /// Seconds of a pass over one token, as of now; 0 before the first pass.
  [[nodiscard]] double unit() const { return unit_; }
  /// Whether `unit` is to be measured by a pass without drafts: it has become old, or is of so few passes
  /// that one which met other work of the machine's would decide. All costs are told in it: were it too long,
  /// drafts would look cheap.
  [[nodiscard]] bool unit_is_old() const { return !of_one_.are_enough() && !of_several_.are_enough(); }

 private:
  static constexpr double kMostResuming = 0.5;
  static constexpr std::int64_t kUnitLasts = 64;  // passes
  static constexpr std::size_t kUnitPasses = 3;   // one after another without drafts

  /// The last passes without drafts, in seconds that one over one token would take.
  struct PlainPasses {
    std::vector<double> times;
    std::int64_t since = kUnitLasts;  // passes since the last of them

    void record(double seconds);
    [[nodiscard]] bool are_enough() const { return times.size() >= kUnitPasses && since < kUnitLasts; }
    [[nodiscard]] double median() const;
  };
  struct Figure {
    double value = 0;
    std::int64_t seen = 0;
    /// The mean of what was seen at first, then one that forgets. Measurements far off, from the guess too,
    /// count as less far: they tell of the machine's other work.
    void record(double measured);
  };

  void record_figure(std::int64_t tokens, double measured_pass);

  double unit_ = 0;
  PlainPasses of_one_;          // token: what the unit is, where there are enough
  PlainPasses of_several_;      // texts, by what such a pass costs
  std::vector<Figure> passes_;  // [kMostTokens + 1]
  std::vector<Figure> drafts_;  // [kMostTokens + 1] of one further draft, by texts
  Figure resuming_;
  double slope_ = 1;  // what was measured of passes over several tokens, less one, by what was guessed
  std::vector<double> guess_;  // [kMostTokens + 1] passes before any was measured
};

}  // namespace fathom
