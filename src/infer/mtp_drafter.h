#pragma once

#include "infer/drafter.h"
#include "model/transformer.h"

namespace fathom {

/// Drafts by the model's own MTP modules (technical report, sections 2.2 and 5.4.3). Draft d comes from
/// module d; behind the last one that module is applied again, one position further and to its own state in
/// place of the model's. Each module keeps a latent cache of the text, of which only what drafts were never
/// part of stays from one call to the next.
///
/// What the model reads reaches the modules with the next draft, all at once: reading costs nothing, and
/// neither does a text for which nobody wants drafts. Of more than `kMostPending` tokens at once, the modules
/// see the last ones only: they lose little, as the states themselves have seen the whole text.
class MtpDrafter : public Drafter {
 public:
  static constexpr std::int64_t kMostPending = 16;

  /// Keeps a reference. Throws `Error` where the model has no module.
  /// @param with_text  tokens that may be drafted, the first ones of the vocabulary
  MtpDrafter(const Transformer& model, std::int64_t with_text);

  [[nodiscard]] std::unique_ptr<State> begin(std::int64_t capacity) const override;
  void read(State& state, std::span<const std::int32_t> tokens, const Tensor& hidden) const override;
  void draft(const Context& context, std::span<Job> jobs) const override;
  [[nodiscard]] std::int64_t bytes_per_token() const override;
  [[nodiscard]] double cost_of_draft() const override { return cost_of_draft_; }
  [[nodiscard]] double expected_acceptance() const override { return 0.7; }

 private:
  class Text;
  struct Pass;

  static Text& text_of(const Job& job);
  /// Gives each text of the pass a draft.
  void run(const Context& context, const Pass& pass, std::span<Job> jobs, std::span<Sampler> samplers,
           std::span<Tensor> last_states) const;

  const Transformer& model_;
  std::int64_t with_text_;
  double cost_of_draft_;
};

}  // namespace fathom
