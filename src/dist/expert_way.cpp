#include "dist/expert_way.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "base/error.h"
#include "dist/collectives.h"
#include "dist/expert_hop.h"

namespace fathom {
namespace {

using Level = ExpertWay::Level;

Communicator& ranks_of(const Level& level, Direction direction) {
  return direction == Direction::forward ? *level.forward : *level.backward;
}

/// A way of one or two hops: across the nodes, and inside one.
class HopsRoute : public ExpertRoute {
 public:
  HopsRoute(std::span<const Level> levels, const ExpertChoices& places,
            std::span<const std::int32_t> expert_of)
      : levels_(levels), expert_of_(expert_of) {
    hops_.push_back(std::make_unique<ExpertHop>(*levels.front().forward, places, levels.front().rank_of));
  }

  [[nodiscard]] const ExpertChoices& arrived() override {
    if (arrived_) return *arrived_;
    arrived_ = hop(levels_.size() - 1).arrived();
    if (!expert_of_.empty())
      for (std::int32_t& place : arrived_->experts) place = expert_of_[static_cast<std::size_t>(place)];
    return *arrived_;
  }

  [[nodiscard]] Arriving dispatch(const Kept& rows, Direction direction) override {
    return [this, direction, first = hops_.front()->dispatch(ranks_of(levels_.front(), direction), rows)] {
      Kept here = first();
      for (std::size_t i = 1; i < levels_.size(); ++i)
        here = hop(i).dispatch(ranks_of(levels_[i], direction), here)();
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

  [[nodiscard]] Returning return_to_slots(std::span<const float> arrived, Direction direction) override {
    const std::size_t last = hops_.size() - 1;
    return [this, direction, last,
            way = hops_[last]->return_to_slots(ranks_of(levels_[last], direction), arrived)] {
      std::vector<float> values = way();
      for (std::size_t i = last; i-- > 0;)
        values = hops_[i]->return_to_slots(ranks_of(levels_[i], direction), values)();
      Tensor slots = Tensor::empty({static_cast<std::int64_t>(values.size())});
      std::ranges::copy(values, slots.f32());
      return slots;
    };
  }

 private:
  /// One of them, made when what comes by those before it is known.
  ExpertHop& hop(std::size_t index) {
    while (hops_.size() <= index) {
      const Level& level = levels_[hops_.size()];
      hops_.push_back(std::make_unique<ExpertHop>(*level.forward, hops_.back()->arrived(), level.rank_of));
    }
    return *hops_[index];
  }

  std::span<const Level> levels_;
  std::span<const std::int32_t> expert_of_;
  std::vector<std::unique_ptr<ExpertHop>> hops_;
  std::optional<ExpertChoices> arrived_;
};

/// @param color    of the ranks that this one can send to
/// @param rank_of  [places]
Level make_level(Communicator& ranks, int color, std::vector<std::int32_t> rank_of) {
  return {ranks.split(color, 0), ranks.split(color, 0), std::move(rank_of)};
}

}  // namespace

int ranks_per_node(Communicator& ranks) {
  const std::vector<std::uint64_t> nodes = all_gather_values(ranks, ranks.node());
  const auto first = static_cast<std::size_t>(std::ranges::count(nodes, nodes.front()));
  if (nodes.size() % first != 0) return 1;
  std::set<std::uint64_t> seen;
  for (std::size_t i = 0; i < nodes.size(); i += first) {
    const bool is_one = std::all_of(nodes.begin() + static_cast<std::ptrdiff_t>(i),
                                    nodes.begin() + static_cast<std::ptrdiff_t>(i + first),
                                    [&](std::uint64_t node) { return node == nodes[i]; });
    if (!is_one || !seen.insert(nodes[i]).second) return 1;
  }
  return static_cast<int>(first);
}

ExpertWay::ExpertWay(Communicator& ranks, std::int64_t places, int ranks_per_node) {
  require(ranks_per_node > 0 && ranks.size() % ranks_per_node == 0,
          "{} processes do not divide into nodes of {}", ranks.size(), ranks_per_node);
  require(places % ranks.size() == 0, "{} places for experts do not divide over {} processes", places,
          ranks.size());
  const std::int64_t each = places / ranks.size();
  const auto targets = [&](const auto& rank_of) {
    std::vector<std::int32_t> list;
    for (std::int64_t place = 0; place < places; ++place)
      list.push_back(static_cast<std::int32_t>(rank_of(place / each)));
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

std::shared_ptr<ExpertRoute> ExpertWay::route(const ExpertChoices& places,
                                              std::span<const std::int32_t> expert_of) const {
  return std::make_shared<HopsRoute>(levels_, places, expert_of);
}

}  // namespace fathom
