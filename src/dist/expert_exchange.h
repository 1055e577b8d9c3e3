#pragma once

#include <cstdint>
#include <memory>

#include "dist/communicator.h"
#include "dist/expert_way.h"
#include "model/expert_peers.h"

namespace fathom {

/// Experts spread evenly over ranks, in order: rank r of R holds [r · n / R, (r + 1) · n / R).
struct ExpertShare {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
/// Throws `Error` where the experts do not divide.
ExpertShare expert_share(std::int64_t n_routed_experts, int rank, int ranks);

/// The all-to-all of expert parallelism: tokens go to the ranks of a communicator that hold their experts
/// (`expert_share`, the same of every layer), by `ExpertWay`.
class ExpertExchange : public ExpertPeers {
 public:
  /// Called by all ranks. Keeps no reference.
  /// @param ranks_per_node  divides the number of ranks; 1, or all of them: no handing on
  ExpertExchange(Communicator& ranks, std::int64_t n_routed_experts, int ranks_per_node);

  [[nodiscard]] bool holds(std::int64_t /*layer*/, std::int64_t expert) const override {
    return expert >= share_.begin && expert < share_.end;
  }
  [[nodiscard]] std::shared_ptr<ExpertRoute> route(std::int64_t layer, const Routing& routing) override;

 private:
  ExpertShare share_;
  ExpertWay way_;
};

}  // namespace fathom
