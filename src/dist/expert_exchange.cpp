#include "dist/expert_exchange.h"

#include "base/error.h"

namespace fathom {

ExpertShare expert_share(std::int64_t n_routed_experts, int rank, int ranks) {
  require(ranks > 0 && n_routed_experts % ranks == 0,
          "{} experts do not divide over {} processes: choose an expert-parallel size that divides "
          "n_routed_experts",
          n_routed_experts, ranks);
  const std::int64_t each = n_routed_experts / ranks;
  return {rank * each, (rank + 1) * each};
}

ExpertExchange::ExpertExchange(Communicator& ranks, std::int64_t n_routed_experts, int ranks_per_node)
    : share_(expert_share(n_routed_experts, ranks.rank(), ranks.size())),
      way_(ranks, n_routed_experts, ranks_per_node) {}

std::shared_ptr<ExpertRoute> ExpertExchange::route(std::int64_t /*layer*/, const Routing& routing) {
  return way_.route(choices_of(routing));
}

}  // namespace fathom
