#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "text/token_grammar.h"

namespace fathom {

/// How the next token is chosen. The defaults sample from the model's own distribution.
struct SamplingOptions {
  double temperature = 1.0;         // logits are divided by it; 0: always the most probable token
  std::int64_t top_k = 0;           // only the k most probable; 0: off
  double top_p = 1.0;               // the fewest tokens that together reach this probability; 1: off
  double min_p = 0.0;               // only tokens at least this times as probable as the best; 0: off
  double repetition_penalty = 1.0;  // divides positive and multiplies negative logits of tokens seen; 1: off
  std::uint64_t seed = 0;
};

/// A model gave logits that are not numbers, most likely because its weights are not: `find_non_finite` of
/// model/load.h finds which.
class NonFiniteLogits : public Error {
 public:
  using Error::Error;
};

/// Throws `UsageError` naming the option that is out of range.
void validate_sampling_options(const SamplingOptions& options);

/// No token goes on with the text that a grammar wants: the vocabulary cannot spell it.
class NoTokenFits : public Error {
 public:
  using Error::Error;
};

/// Chooses tokens. The filters run in the order in which `transformers` runs them: repetition penalty,
/// temperature, top-k, top-p, min-p. (llama.cpp's default puts the temperature last; the two differ where a
/// temperature other than 1 meets top-p or min-p.) Two tokens of equal logit rank by id, so top-k keeps
/// exactly k tokens and greedy choice takes the lowest id.
class Sampler {
 public:
  struct Candidate {
    std::int32_t token;
    double probability;
  };

  explicit Sampler(const SamplingOptions& options);

  /// Notes a token of the prompt or of the answer, for the repetition penalty and the grammar.
  void accept(std::int32_t token);

  /// From now on `accept` takes the tokens of a text of the grammar, from its beginning, and those alone that
  /// go on with it are chosen, by what the filters leave of them. Null: nothing changes.
  void constrain(std::shared_ptr<const TokenGrammar> grammar);
  /// Whether a grammar allows nothing more but the text's end.
  [[nodiscard]] bool must_end() const { return matcher_ && matcher_->must_end(); }

  /// The next token for `logits` [vocab]. Draws one number, or none at temperature 0; so the n-th token of an
  /// answer gets the n-th number, whatever the logits. Equal numbers take equal tokens from distributions
  /// that are nearly equal, in most cases: the probable tokens are passed first, from the most probable on.
  /// Throws `NonFiniteLogits` when one is NaN or +infinity; -infinity forbids a token, but not all of them.
  /// Throws `NoTokenFits`, or `Error` as `GrammarMatcher::mask`.
  std::int32_t sample(std::span<const float> logits);

  /// Whether the choice is greedy and the two best logits are so near to one another that rounding decides.
  [[nodiscard]] bool is_close_call(std::span<const float> logits) const;

  /// What `sample` draws from: tokens of probability above 0, which sum to 1.
  [[nodiscard]] std::vector<Candidate> distribution(std::span<const float> logits) const;

 private:
  /// Calls `use` with each token that may be chosen.
  template <typename Use>
  void for_each_allowed(std::span<const float> logits, const Use& use) const;
  /// Logit of a token with the repetition penalty.
  [[nodiscard]] double penalised(std::span<const float> logits, std::size_t token) const;

  SamplingOptions options_;
  Rng rng_;
  std::vector<bool> seen_;  // by token id
  std::optional<GrammarMatcher> matcher_;
};

/// Throws `NonFiniteLogits` unless every logit is a number or -infinity and at least one is finite.
void check_logits(std::span<const float> logits);

}  // namespace fathom
