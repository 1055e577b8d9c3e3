#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "dist/collectives.h"
#include "dist/communicator.h"
#include "model/expert_peers.h"

namespace fathom {

/// One step of tokens' way to their experts: from each rank of a communicator to the ranks that hold experts
/// of theirs, a token to each once; and back.
class ExpertHop {
 public:
  /// Called by all ranks: tells each how much comes to it, which waits, and begins to tell what.
  /// @param rank_of  [n_routed_experts], whom a token with that expert goes to
  ExpertHop(Communicator& ranks, const ExpertChoices& choices, std::span<const std::int32_t> rank_of);

  /// The tokens that come here, with the experts that they come for: rank by rank, each one's in its order.
  /// Waits, the first time.
  [[nodiscard]] const ExpertChoices& arrived();

  /// See `ExpertRoute`; over any communicator of the same ranks.
  [[nodiscard]] ExpertRoute::Arriving dispatch(Communicator& ranks, const Kept& rows) const;
  [[nodiscard]] ExpertRoute::Combining combine(Communicator& ranks, const Context& context,
                                               const Tensor& rows) const;
  /// One value for each arrived slot, back to the slot of `choices` that it was.
  using Returning = std::function<std::vector<float>()>;
  [[nodiscard]] Returning return_to_slots(Communicator& ranks, std::span<const float> values) const;

 private:
  /// What is told of tokens on their way.
  struct Told {
    std::vector<std::int32_t> slots;  // [tokens] how many
    std::vector<std::int32_t> experts;
    std::vector<float> gates;
  };

  void choose(const ExpertChoices& choices, std::span<const std::int32_t> rank_of, std::size_t ranks);

  std::int64_t tokens_ = 0;                // here
  std::vector<std::int32_t> sent_tokens_;  // which goes, destination by destination
  std::vector<std::int32_t> sent_slots_;   // of which slots, in the order in which they arrive
  std::vector<std::size_t> token_bounds_;  // [ranks + 1], each destination's part of `sent_tokens_`
  std::vector<std::size_t> slot_bounds_;   // [ranks + 1], of `sent_slots_`
  std::vector<std::int32_t> first_copy_;   // [tokens + 1], where a token's copies begin
  std::vector<std::int32_t> copies_;       // places in `sent_tokens_`, token by token

  Told going_;
  Told coming_;
  Transfers telling_;
  bool is_told_ = false;
  ExpertChoices arrived_;
  std::vector<std::size_t> arrived_token_bounds_;  // [ranks + 1]
  std::vector<std::size_t> arrived_slot_bounds_;   // [ranks + 1]
};

}  // namespace fathom
