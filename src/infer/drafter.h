#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "infer/sampler.h"
#include "model/context.h"
#include "tensor/tensor.h"

namespace fathom {

/// Guesses cheaply which tokens may follow a text: the model then checks all of them in one pass. A guess
/// never changes an answer, only how fast it comes. One drafter serves many texts, and of each keeps what its
/// guesses need in a `State`.
class Drafter {
 public:
  class State {
   public:
    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    virtual ~State() = default;
  };

  /// What is wanted for one text, and what came out.
  struct Job {
    State& state;
    std::int32_t next;                      // the token that was chosen last; the model has not read it yet
    std::int64_t count;                     // of tokens wanted after it
    const Sampler& sampler;                 // that will choose the tokens after `next`, which it has accepted
    std::vector<std::int32_t> drafts = {};  // at most `count`
    /// How good the drafts look to the drafter itself, from 0 to `kGrades` - 1: acceptance is expected to be
    /// of a kind among drafts of one grade.
    std::int64_t grade = 0;
  };
  static constexpr std::int64_t kGrades = 4;

  Drafter() = default;
  Drafter(const Drafter&) = delete;
  Drafter& operator=(const Drafter&) = delete;
  virtual ~Drafter() = default;

  /// @param capacity  tokens that the text may come to, drafts included
  [[nodiscard]] virtual std::unique_ptr<State> begin(std::int64_t capacity) const = 0;
  /// Tells of the tokens that the model has read: those of the text only, not drafts that it refused.
  /// @param hidden  [tokens, hidden], the model's states after its final norm; undefined where nobody has
  /// them,
  ///                as of tokens whose latents were cached before
  virtual void read(State& state, std::span<const std::int32_t> tokens, const Tensor& hidden) const = 0;
  /// Fills `drafts` and `grade` of every job. Drafts are drawn by a copy of the job's sampler, so that where
  /// the drafter's distribution is near the model's, the draft is most likely the very token that the sampler
  /// will choose, number for number.
  virtual void draft(const Context& context, std::span<Job> jobs) const = 0;

  /// Bytes that a text's state takes for each token that the text may come to.
  [[nodiscard]] virtual std::int64_t bytes_per_token() const = 0;
  /// What a draft costs, in passes of the model over one token: before it has been measured.
  [[nodiscard]] virtual double cost_of_draft() const = 0;
  /// Part of first drafts that may be expected to be accepted, before any has been seen.
  [[nodiscard]] virtual double expected_acceptance() const = 0;
};

/// Adds a draft drawn from a drafter's logits [1, vocab], unless they are not numbers: then there is none,
/// and what the model itself says decides.
/// @param with_text  tokens that may be drafted, the first ones of the vocabulary
bool draw_draft(const Tensor& logits, std::int64_t with_text, Sampler& sampler,
                std::vector<std::int32_t>& drafts);

}  // namespace fathom
