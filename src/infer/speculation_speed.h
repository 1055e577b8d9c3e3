#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "infer/drafter.h"
#include "infer/sampler.h"
#include "infer/speculation.h"
#include "infer/speculation_bound.h"
#include "infer/text_model.h"
#include "model/latent_cache.h"
#include "model/transformer.h"

namespace fathom {

/// What is measured with drafts and without, and how.
struct SpeculationSetup {
  const Context& context;
  const TextModel& model;
  const Transformer& transformer;  // of `model`
  const Drafter& drafter;
  SpeculationOptions speculation;
  SamplingOptions sampling;
  std::int64_t answer_tokens = 128;
  int rounds = 5;
  LatentType cache_type = LatentType::f16;
};

/// How fast prompts that are given together are answered: from the first token until one of them has its
/// answer, as a server would let the next one in then, and what drafts gain would be lost in a batch that
/// empties. What ends a text does not end these.
struct SpeculationTurn {
  std::vector<double> rounds_without;  // tokens a second, of all answers together
  std::vector<double> rounds_with;
  std::int64_t tokens = 0;  // of all answers without drafts, but for their first ones
  SpeculationStats stats;   // of one round
  bool is_same = true;      // all answers, with and without, as far as both have gone
  std::vector<std::vector<std::int32_t>> answers;

  /// For so many tokens, at the rounds' median rates.
  [[nodiscard]] double seconds_without() const;
  [[nodiscard]] double seconds_with() const;
  /// The median of what each round comes to, whose two runs meet much the same machine.
  [[nodiscard]] double speedup() const;
};

struct SpeculationSpeed {
  std::vector<SpeculationTurn> turns;
  StepReads steps;  // over the answers

  [[nodiscard]] std::int64_t tokens() const;
  [[nodiscard]] double seconds_without() const;
  [[nodiscard]] double seconds_with() const;
  [[nodiscard]] double speedup() const { return seconds_without() / seconds_with(); }
  /// The least of a turn.
  [[nodiscard]] const SpeculationTurn& worst() const;
  [[nodiscard]] SpeculationStats stats() const;
};

enum class AnsweredBy : std::uint8_t {
  generator,  // as `fathom run` does: nothing is known of costs and acceptance when an answer begins
  engine      // as `fathom serve` does, which remembers costs
};

/// Answers prompts with drafts and without, the two taking turns every few tokens (`WorkInTurns`).
/// @param prompts   of one length
/// @param at_once   prompts of a turn, taken in order; those that make no whole turn are left out. A
/// generator
///                  takes one.
SpeculationSpeed measure_speculation(const SpeculationSetup& setup,
                                     std::span<const std::vector<std::int32_t>> prompts, std::int64_t at_once,
                                     AnsweredBy by);

/// How likely the first draft, the first two, and so on are to be accepted, where a text always gets so many:
/// [count], or fewer where no text had so many.
std::vector<double> measure_acceptance(const SpeculationSetup& setup,
                                       std::span<const std::vector<std::int32_t>> prompts,
                                       std::int64_t count);

}  // namespace fathom
