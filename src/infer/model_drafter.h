#pragma once

#include <string>

#include "infer/drafter.h"
#include "model/transformer.h"
#include "text/tokenizer.h"

namespace fathom {

/// Drafts by another, smaller model of the same vocabulary, with a latent cache of the whole text. What the
/// model reads reaches the smaller one with the next draft.
class ModelDrafter : public Drafter {
 public:
  /// Keeps references.
  /// @param drafting   the smaller model
  /// @param drafted    the model that will check
  /// @param with_text  tokens that may be drafted, the first ones of both vocabularies
  ModelDrafter(const Transformer& drafting, const Transformer& drafted, std::int64_t with_text);

  [[nodiscard]] std::unique_ptr<State> begin(std::int64_t capacity) const override;
  void read(State& state, std::span<const std::int32_t> tokens, const Tensor& hidden) const override;
  /// A text that goes beyond the smaller model's context gets no drafts there.
  void draft(const Context& context, std::span<Job> jobs) const override;
  [[nodiscard]] std::int64_t bytes_per_token() const override;
  [[nodiscard]] double cost_of_draft() const override { return cost_of_draft_; }
  [[nodiscard]] double expected_acceptance() const override { return 0.6; }

 private:
  struct Text;

  const Transformer& model_;
  std::int64_t with_text_;
  double cost_of_draft_;
};

/// Throws `Error` naming the first token in which the vocabularies differ: drafts are token ids, so both
/// models must mean the same by them.
/// @param model, draft_model  what to call them in the message
void require_same_vocabulary(const Tokenizer& tokenizer, const std::string& model,
                             const Tokenizer& draft_tokenizer, const std::string& draft_model);

}  // namespace fathom
