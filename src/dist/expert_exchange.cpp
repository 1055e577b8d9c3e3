#include "dist/expert_exchange.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "base/error.h"
#include "dist/expert_hop.h"

namespace fathom {
namespace {

using Level = ExpertExchange::Level;

Communicator& ranks_of(const Level& level, Direction direction) {
  return direction == Direction::forward ? *level.forward : *level.backward;
}

/// A way of one or two hops: across the nodes, and inside one.
class HopsRoute : public ExpertRoute {
 public:
  HopsRoute(std::span<const Level> levels, const Routing& routing) : levels_(levels) {
    hops_.reserve(levels.size());
    hops_.push_back(
        std::make_unique<ExpertHop>(*levels.front().forward, choices_of(routing), levels.front().rank_of));
    for (const Level& level : levels.subspan(1))
      hops_.push_back(std::make_unique<ExpertHop>(*level.forward, hops_.back()->arrived(), level.rank_of));
  }

  [[nodiscard]] const ExpertChoices& arrived() const override { return hops_.back()->arrived(); }

  [[nodiscard]] Arriving dispatch(const Kept& rows, Direction direction) override {
    return [this, direction, first = hops_.front()->dispatch(ranks_of(levels_.front(), direction), rows)] {
      Kept here = first();
      for (std::size_t i = 1; i < hops_.size(); ++i)
        here = hops_[i]->dispatch(ranks_of(levels_[i], direction), here)();
      return here;
    };
  }

  [[nodiscard]] Combining combine(const Context& context, const Tensor& rows, Direction direction) override {
    const std::size_t last = hops_.size() - 1;
    return [this, context, direction, last,
            way = hops_[last]->combine(ranks_of(levels_[last], direction), context, rows)](Tensor& y) {
      Combining coming = way;
      for (std::size_t i = last; i > 0; --i) {
        Tensor sums = Tensor::zeros({hops_[i - 1]->arrived().rows(), y.dim(1)});
        coming(sums);
        coming = hops_[i - 1]->combine(ranks_of(levels_[i - 1], direction), context, sums);
      }
      coming(y);
    };
  }

  [[nodiscard]] Tensor return_to_slots(std::span<const float> arrived, Direction direction) override {
    std::vector<float> values(arrived.begin(), arrived.end());
    for (std::size_t i = hops_.size(); i-- > 0;)
      values = hops_[i]->return_to_slots(ranks_of(levels_[i], direction), values);
    Tensor slots = Tensor::empty({static_cast<std::int64_t>(values.size())});
    std::ranges::copy(values, slots.f32());
    return slots;
  }

 private:
  std::span<const Level> levels_;
  std::vector<std::unique_ptr<ExpertHop>> hops_;
};

/// @param color    of the ranks that this one can send to
/// @param rank_of  [n_routed_experts]
Level make_level(Communicator& ranks, int color, std::vector<std::int32_t> rank_of) {
  return {ranks.split(color, 0), ranks.split(color, 0), std::move(rank_of)};
}

}  // namespace

ExpertShare expert_share(std::int64_t n_routed_experts, int rank, int ranks) {
  require(ranks > 0 && n_routed_experts % ranks == 0,
          "{} experts do not divide over {} processes: choose an expert-parallel size that divides "
          "n_routed_experts",
          n_routed_experts, ranks);
  const std::int64_t each = n_routed_experts / ranks;
  return {rank * each, (rank + 1) * each};
}

ExpertExchange::ExpertExchange(Communicator& ranks, std::int64_t n_routed_experts, int ranks_per_node)
    : share_(expert_share(n_routed_experts, ranks.rank(), ranks.size())) {
  require(ranks_per_node > 0 && ranks.size() % ranks_per_node == 0,
          "{} processes do not divide into nodes of {}", ranks.size(), ranks_per_node);
  const std::int64_t each = n_routed_experts / ranks.size();
  const auto targets = [&](const auto& rank_of) {
    std::vector<std::int32_t> list;
    for (std::int64_t e = 0; e < n_routed_experts; ++e)
      list.push_back(static_cast<std::int32_t>(rank_of(e / each)));
    return list;
  };
  if (ranks_per_node == 1 || ranks_per_node == ranks.size()) {
    levels_.push_back(make_level(ranks, 0, targets([](std::int64_t rank) { return rank; })));
    return;
  }
  levels_.push_back(make_level(ranks, ranks.rank() % ranks_per_node,
                               targets([&](std::int64_t rank) { return rank / ranks_per_node; })));
  levels_.push_back(make_level(ranks, ranks.rank() / ranks_per_node,
                               targets([&](std::int64_t rank) { return rank % ranks_per_node; })));
}

std::shared_ptr<ExpertRoute> ExpertExchange::route(const Routing& routing) {
  return std::make_shared<HopsRoute>(levels_, routing);
}

}  // namespace fathom
