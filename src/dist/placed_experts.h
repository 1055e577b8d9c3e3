#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "dist/copy_shares.h"
#include "dist/expert_placement.h"
#include "dist/expert_way.h"
#include "model/config.h"
#include "model/expert_counts.h"
#include "model/expert_peers.h"

namespace fathom {

/// Expert parallelism for inference: each MoE layer's experts where `place_experts` puts them, with redundant
/// copies of the busiest (technical report, section 3.4). A token goes to one of its expert's copies: to each
/// as many, and nearby where that leaves them as many (dist/copy_shares.h). Placement counts nodes where the
/// router's groups divide by them (hierarchical), else not (global).
class PlacedExperts : public ExpertPeers {
 public:
  /// Called by all ranks with the same arguments. Keeps no reference.
  /// @param redundant_experts  copies in each layer beside the first of each expert
  /// @param counts  loads to place by; empty: as many tokens for each expert
  /// Throws `Error` where experts and copies do not divide over the ranks.
  PlacedExperts(Communicator& ranks, const ModelConfig& config, std::int64_t redundant_experts,
                const ExpertCounts& counts);

  [[nodiscard]] bool holds(std::int64_t layer, std::int64_t expert) const override;
  [[nodiscard]] std::shared_ptr<ExpertRoute> route(std::int64_t layer, const Routing& routing) override;

  /// How many tokens each rank brings to the next passes, [ranks]: copies then get as many each also where
  /// ranks do not have as many. The same on all ranks.
  void expect_tokens(std::span<const std::int64_t> tokens);

  [[nodiscard]] const ExpertPlacement& placement(std::int64_t layer) const;

 private:
  struct Expert {
    std::vector<std::int32_t> slots;         // of its copies
    std::vector<std::int32_t> rank_of_copy;  // [copies]
    std::unique_ptr<CopyTurns> turns;        // where there are several
    std::vector<double> shares;              // [copies], of this rank's tokens; empty: not known yet
  };
  struct Layer {
    ExpertPlacement placement;
    std::vector<Expert> experts;
  };

  [[nodiscard]] Layer make_layer(std::span<const double> load, const PlacementShape& shape) const;
  [[nodiscard]] const Layer& at(std::int64_t layer) const;
  [[nodiscard]] std::int32_t slot_for_next_token(Expert& expert) const;

  int rank_;
  std::vector<std::int32_t> node_of_rank_;
  std::vector<std::int64_t> tokens_;  // [ranks]
  ExpertWay way_;
  std::vector<Layer> layers_;  // [num_hidden_layers]; those of dense layers are empty
};

}  // namespace fathom
