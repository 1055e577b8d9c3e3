#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "infer/draft_history.h"
#include "infer/step_cost.h"

namespace fathom {

/// A text that goes on by a step, for the choice of how many drafts it gets.
struct DraftingText {
  const DraftHistory& history;
  std::int64_t most = 0;     // drafts that there is room for, or that have been made
  std::int64_t grade = 0;    // of those
  bool is_resuming = false;  // it had none in the step before
  double drafting = 0;       // what its drafts have cost, where they have been made
};

// How many tokens to draft for each text of a pass, and how many of the drafts to check, [texts]: as many as
// promise most tokens a second of all texts together, by what drafts and passes cost, and how drafts of each
// text fared. A further draft goes to the text where it is most likely to be accepted. What it costs depends
// on what the pass reads anyway: the more texts there are the less a pass gains by drafts, down to nothing.
//
// What is gained must be worth trusting measured costs. Where drafts do not pay, a text goes on without, and
// is tried again ever more rarely, and never beyond what its account covers (`DraftHistory`); where they
// could not pay even if they were always accepted, it is not tried.

/// @param others  tokens that the pass reads besides, such as of prompts
std::vector<std::int64_t> lengths_to_draft(const StepCost& cost, std::span<const DraftingText> texts,
                                           std::int64_t others);
std::vector<std::int64_t> lengths_to_check(const StepCost& cost, std::span<const DraftingText> texts,
                                           std::int64_t others);

}  // namespace fathom
