#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/communicator.h"
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
/// (`expert_share`).
///
/// Where the ranks are on several nodes, as many on each and one node's behind another's, a token crosses to
/// a node once, to the rank there that has its sender's place in the node, and is handed on inside (technical
/// report, section 3.2.2); on the way back a node's sums are made inside it and cross once. With routing
/// limited to M nodes a token thus crosses M times at most, whatever the number of its experts.
class ExpertExchange : public ExpertPeers {
 public:
  /// Called by all ranks. Keeps no reference.
  /// @param ranks_per_node  divides the number of ranks; 1, or all of them: no handing on
  ExpertExchange(Communicator& ranks, std::int64_t n_routed_experts, int ranks_per_node);

  [[nodiscard]] bool holds(std::int64_t expert) const override {
    return expert >= share_.begin && expert < share_.end;
  }
  [[nodiscard]] std::shared_ptr<ExpertRoute> route(const Routing& routing) override;

  /// One step of the way: ranks that tokens can go to.
  struct Level {
    std::unique_ptr<Communicator> forward;  // of the messages of either pass
    std::unique_ptr<Communicator> backward;
    std::vector<std::int32_t> rank_of;  // [n_routed_experts]: whom to send a token that goes to the expert
  };

 private:
  ExpertShare share_;
  std::vector<Level> levels_;
};

}  // namespace fathom
