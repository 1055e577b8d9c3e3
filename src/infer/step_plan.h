#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "infer/cache_book.h"
#include "infer/sampler.h"
#include "text/grammar_compiler.h"

namespace fathom {

/// Names a sequence in all messages about it; never used again.
using SequenceId = std::uint64_t;

/// A sequence that a rank is to have from now on.
struct NewSequence {
  SequenceId id = 0;
  SamplingOptions sampling;
  GrammarRequest grammar;
  /// Whom to send the cache to when the prompt is through, and whom to receive it from, as ranks of the job;
  /// -1: nobody.
  int send_to = -1;
  int receive_from = -1;
  std::vector<std::int32_t> prompt;
};

/// What one rank does in one step.
struct StepPlan {
  /// New tokens of a sequence: so many of those that it has and its cache has not, or (0) the last one.
  struct Run {
    SequenceId id = 0;
    std::int64_t prompt_tokens = 0;
    std::int64_t most_drafts = 0;  // behind the last one, where it is that: there is room for so many
  };

  /// Pages that a sequence's table gets behind those that it has.
  struct Seat {
    SequenceId id = 0;
    std::vector<PageId> pages;
    std::int64_t held = 0;  // where it has none yet: its first tokens whose latents are in these
  };

  /// How many pages of its table a sequence keeps.
  struct Trim {
    SequenceId id = 0;
    std::int64_t pages = 0;
  };

  bool is_end = false;            // no more steps
  bool waits_for_caches = false;  // nobody has tokens: whoever awaits caches waits until one is here
  std::vector<std::int64_t> tokens_of_rank;  // of all ranks of the group in this step
  // In the order in which they are obeyed.
  std::vector<Trim> trim;
  std::vector<SequenceId> drop;
  std::vector<PageOrder> orders;
  std::vector<NewSequence> begin;
  std::vector<Seat> seat;
  std::vector<SequenceId> pause;  // they keep their tokens, and lose their tables until they are seated again
  std::vector<Run> run;
};

/// What came of it.
struct StepResult {
  struct Token {
    SequenceId id = 0;
    std::int32_t token = 0;
    bool ends_grammar = false;  // nothing more may come behind it
  };
  /// In place of a token: the logits were not numbers.
  static constexpr std::int32_t kNotNumbers = -1;
  /// In place of a token: the grammar cannot be followed, as `Sampler::sample` says.
  static constexpr std::int32_t kNoTokenFits = -2;

  /// What became of a sequence's drafts.
  struct Drafts {
    SequenceId id = 0;
    std::int64_t drafted = 0;
    std::int64_t checked = 0;
    std::int64_t accepted = 0;
  };

  std::vector<Token> tokens;  // one for each sequence that goes on; with drafts none or several, in order
  std::vector<Drafts> drafts;
  std::vector<SequenceId> sent;                 // whose caches are on their way
  std::vector<std::vector<std::byte>> spilled;  // pages, in the order of their orders
};

std::vector<std::byte> pack(const StepPlan& plan);
StepPlan unpack_plan(std::span<const std::byte> bytes);
std::vector<std::byte> pack(const StepResult& result);
StepResult unpack_result(std::span<const std::byte> bytes);

}  // namespace fathom
