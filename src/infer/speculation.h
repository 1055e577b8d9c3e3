#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "infer/draft_history.h"
#include "infer/drafter.h"
#include "infer/sampler.h"
#include "infer/speculation_stats.h"
#include "infer/step_cost.h"
#include "model/config.h"
#include "model/context.h"
#include "tensor/tensor.h"

namespace fathom {

struct SpeculationOptions {
  std::int64_t most_drafts = 7;  // at a time: with the token before them a pass of 8
  bool adaptive = true;          // false: always as many
};
/// Throws `UsageError` naming the option that is out of range.
void validate_speculation_options(const SpeculationOptions& options);

/// Speculative decoding (Leviathan et al., arXiv 2211.17192; technical report, section 5.4.3): tokens are
/// drafted, one pass of the model reads all of them, and each is kept that the sampler chooses too.
///
/// The sampler draws its numbers as it does without drafts, one for each token of the answer, and looks at
/// the same logits. So an answer is the same token for token with and without speculation, greedy or not:
/// exact in distribution, and the same for the same seed, however many drafts the time that passes took made
/// worthwhile. The price against rejection sampling: where neither model is sure, a draft that the sampler of
/// the drafter drew with the same number is refused a little more often than it need be.
class Speculation {
 public:
  /// One text's.
  class Text {
   public:
    [[nodiscard]] const SpeculationStats& stats() const { return stats_; }
    /// Tokens that were drafted for the step under way.
    [[nodiscard]] std::int64_t drafted() const { return step_.drafted; }

   private:
    friend class Speculation;
    struct Step {
      std::int64_t drafted = 0;
      std::int64_t grade = 0;
      std::int64_t checked = 0;
      double drafting = 0;            // what the drafts cost, in passes over one token
      std::int64_t plain_tokens = 0;  // of the pass: those that are no drafts
      std::int64_t all_checked = 0;   // drafts of all texts
    };
    Text(std::unique_ptr<Drafter::State> state, double expected_acceptance)
        : state_(std::move(state)), history_(expected_acceptance) {}
    std::unique_ptr<Drafter::State> state_;
    DraftHistory history_;
    Step step_;                 // the one under way
    bool has_drafted_ = false;  // in the step before
    SpeculationStats stats_;
  };

  /// Keeps references to the drafter, and texts one to this.
  Speculation(const ModelConfig& config, const Drafter& drafter, const SpeculationOptions& options);

  Speculation(const Speculation&) = delete;
  Speculation& operator=(const Speculation&) = delete;

  /// @param capacity  tokens that the text may come to
  [[nodiscard]] Text begin(std::int64_t capacity) const;
  /// Forgets the tokens that it was told of; how drafts fared is remembered.
  void begin_again(Text& text, std::int64_t capacity) const;
  [[nodiscard]] std::int64_t most_drafts() const { return options_.most_drafts; }
  /// Tells of tokens of the text that the model has read, as `Drafter::read`.
  void read(Text& text, std::span<const std::int32_t> tokens, const Tensor& hidden) const;

  struct Request {
    Text& text;
    std::int32_t next;                      // the token that was chosen last
    std::int64_t room;                      // drafts that there is room for
    const Sampler& sampler;                 // that has accepted `next`
    std::vector<std::int32_t> drafts = {};  // to be checked
  };
  /// Fills the drafts of each text that is to go on by one step; there may be none.
  /// @param others  tokens that the pass reads besides, such as of prompts
  void draft(const Context& context, std::span<Request> requests, std::int64_t others = 0);

  /// Tells how long a pass took over so many tokens, of all texts together. @param drafts  how many of them
  /// were
  void record_pass(std::int64_t tokens, std::int64_t drafts, double seconds) {
    cost_.record_pass(tokens, drafts, seconds);
  }
  /// Ends a text's step. @param accepted  of its drafts, the first ones
  void record(Text& text, std::int64_t accepted);

 private:
  /// How many drafts each text is to get, or how many of those that it has are to be checked.
  [[nodiscard]] std::vector<std::int64_t> lengths(std::span<const Request> requests, bool is_drafted,
                                                  std::int64_t others) const;

  /// Hands drafts to the requests that they are for, and to each its part of what they took.
  void settle_drafts(std::span<Drafter::Job> jobs, std::span<Request* const> of_job, double seconds);

  const Drafter& drafter_;
  SpeculationOptions options_;
  StepCost cost_;
};

/// The tokens that a sampler chooses after a pass that read a token and its drafts.
struct Checked {
  std::vector<std::int32_t> tokens;  // accepted drafts, then the model's own choice where it was none of them
  std::int64_t accepted = 0;         // drafts
  /// The choice behind the accepted drafts is not made: the best logits are so near to one another that
  /// passes over several tokens, which may sum in another order, could take another one. It is to be made by
  /// a pass over one token, as it would be without speculation.
  bool is_open = false;
};
/// @param logits  [1 + drafts, vocab] of the token before the drafts and of each draft
/// @param keep    called with each token when it is chosen and accepted; false ends the text there
Checked check_drafts(const Tensor& logits, std::int64_t with_text, std::span<const std::int32_t> drafts,
                     Sampler& sampler, const std::function<bool(std::int32_t)>& keep);

}  // namespace fathom
