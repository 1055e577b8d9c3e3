#pragma once

#include "infer/drafter.h"

namespace fathom {

/// Prompt lookup: what followed the last occurrence of the text's longest suffix that has occurred before.
/// Costs no pass of any model; it is good at quotation, at code, and at whatever repeats itself.
class LookupDrafter : public Drafter {
 public:
  [[nodiscard]] std::unique_ptr<State> begin(std::int64_t capacity) const override;
  void read(State& state, std::span<const std::int32_t> tokens, const Tensor& hidden) const override;
  /// The longer the suffix, the higher the grade. No drafts where not even its last two tokens occurred.
  void draft(const Context& context, std::span<Job> jobs) const override;
  [[nodiscard]] std::int64_t bytes_per_token() const override;
  [[nodiscard]] double cost_of_draft() const override { return 0.0; }
  [[nodiscard]] double expected_acceptance() const override { return 0.4; }
};

}  // namespace fathom
