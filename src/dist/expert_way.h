#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "model/expert_peers.h"

namespace fathom {

/// How many ranks each node has; 1, each a node of its own, where they are not as many on each or those of
/// one do not follow one another. Called by all ranks.
int ranks_per_node(Communicator& ranks);

/// The way of tokens to places for experts that are spread evenly over ranks, in order: rank r of R has [r ·
/// n / R, (r + 1) · n / R).
///
/// Where the ranks are on several nodes, a token crosses to a node once, to the rank there that has its
/// sender's place in the node, and is handed on inside (technical report, section 3.2.2); on the way back a
/// node's sums are made inside it and cross once. With routing limited to M nodes a token thus crosses M
/// times at most, whatever the number of its experts.
class ExpertWay {
 public:
  /// Called by all ranks. Keeps no reference. Throws `Error` where the places do not divide over the ranks.
  /// @param ranks_per_node  divides the number of ranks; 1, or all of them: no handing on
  ExpertWay(Communicator& ranks, std::int64_t places, int ranks_per_node);

  /// See `ExpertPeers::route`. Keeps a reference to this.
  /// @param places     that each token goes to, in the place of its experts
  /// @param expert_of  [places] the expert in each, as `ExpertRoute::arrived` is to name it; empty: the place
  [[nodiscard]] std::shared_ptr<ExpertRoute> route(const ExpertChoices& places,
                                                   std::span<const std::int32_t> expert_of = {}) const;

  /// One step of the way: ranks that tokens can go to.
  struct Level {
    std::unique_ptr<Communicator> forward;  // of the messages of either pass
    std::unique_ptr<Communicator> backward;
    std::vector<std::int32_t> rank_of;  // [places]: whom to send a token that goes to the place
  };

 private:
  std::vector<Level> levels_;
};

}  // namespace fathom
