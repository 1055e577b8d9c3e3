#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "infer/sampler.h"

namespace fathom {

/// Names a sequence in all messages about it; never used again.
using SequenceId = std::uint64_t;

/// A sequence that a rank is to have from now on.
struct NewSequence {
  SequenceId id = 0;
  std::int64_t capacity = 0;  // positions of its latent cache
  SamplingOptions sampling;
  /// Whom to send the cache to when the prompt is through, and whom to receive it from, as ranks of the job;
  /// -1: nobody.
  int send_to = -1;
  int receive_from = -1;
  std::vector<std::int32_t> prompt;
};

/// What one rank does in one step.
struct StepPlan {
  /// New tokens of a sequence: its prompt's next ones, or (0) the one that was chosen last.
  struct Run {
    SequenceId id = 0;
    std::int64_t prompt_tokens = 0;
  };

  bool is_end = false;            // no more steps
  bool waits_for_caches = false;  // nobody has tokens: whoever awaits caches waits until one is here
  std::vector<std::int64_t> tokens_of_rank;  // of all ranks of the group in this step
  std::vector<SequenceId> drop;              // before all else, which frees their caches
  std::vector<NewSequence> begin;
  std::vector<Run> run;
};

/// What came of it.
struct StepResult {
  struct Token {
    SequenceId id = 0;
    std::int32_t token = 0;
  };
  /// In place of a token: the logits were not numbers.
  static constexpr std::int32_t kNotNumbers = -1;

  std::vector<Token> tokens;     // one for each sequence that goes on
  std::vector<SequenceId> sent;  // whose caches are on their way
};

std::vector<std::byte> pack(const StepPlan& plan);
StepPlan unpack_plan(std::span<const std::byte> bytes);
std::vector<std::byte> pack(const StepResult& result);
StepResult unpack_result(std::span<const std::byte> bytes);

}  // namespace fathom
