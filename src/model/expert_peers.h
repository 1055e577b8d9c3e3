#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/context.h"
#include "model/direction.h"
#include "model/expert_groups.h"
#include "model/kept.h"
#include "model/router.h"
#include "tensor/tensor.h"

namespace fathom {

/// The way of one MoE layer's tokens to the ranks that hold their experts, and back. All ranks make it
/// together and call the same of its functions in the same order, within a pass. What begins a message
/// returns at once with what waits for it, which has to be called; the rank computes meanwhile.
///
/// A token goes to a rank once, however many experts it has there, and one row comes back: the sum over
/// those.
class ExpertRoute {
 public:
  virtual ~ExpertRoute() = default;
  ExpertRoute(const ExpertRoute&) = delete;
  ExpertRoute& operator=(const ExpertRoute&) = delete;

  /// What this rank's experts have to do: the tokens that come here, all ranks' in their order, and of each
  /// the experts that are here. Waits for it the first time; rows may be dispatched before.
  [[nodiscard]] virtual const ExpertChoices& arrived() = 0;

  using Arriving = std::function<Kept()>;
  /// Sends a row of each own token, as it is stored. What is returned gives the rows that come here.
  /// @param rows  [own tokens, ...]; must stay as it is
  [[nodiscard]] virtual Arriving dispatch(const Kept& rows, Direction direction) = 0;

  using Combining = std::function<void(Tensor& y)>;
  /// Sends rows back: what is returned adds to each row of y [own tokens, hidden] what comes back for it, in
  /// the order of the ranks. They travel in f32, or in BF16 where the recipe is narrower.
  /// @param rows  [arrived tokens, hidden], f32
  [[nodiscard]] virtual Combining combine(const Context& context, const Tensor& rows,
                                          Direction direction) = 0;

  using Returning = std::function<Tensor()>;
  /// Sends one value for each arrived slot back to the slot (token · top_k + j) that it was. What is returned
  /// gives those that come here, [slots].
  [[nodiscard]] virtual Returning return_to_slots(std::span<const float> arrived, Direction direction) = 0;

 protected:
  ExpertRoute() = default;
};

/// Ranks that share the routed experts of every MoE layer out (expert parallelism): each holds some of them
/// whole, and all other weights. Which ones may differ from layer to layer, named as in `ParameterSpec`.
class ExpertPeers {
 public:
  virtual ~ExpertPeers() = default;
  ExpertPeers(const ExpertPeers&) = delete;
  ExpertPeers& operator=(const ExpertPeers&) = delete;

  /// Whether the expert of that layer is here.
  [[nodiscard]] virtual bool holds(std::int64_t layer, std::int64_t expert) const = 0;
  /// Called by all ranks together, each with its own tokens, or none. Waits until all know what comes.
  [[nodiscard]] virtual std::shared_ptr<ExpertRoute> route(std::int64_t layer, const Routing& routing) = 0;

 protected:
  ExpertPeers() = default;
};

}  // namespace fathom
