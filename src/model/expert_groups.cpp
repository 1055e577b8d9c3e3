#include "model/expert_groups.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/error.h"
#include "numerics/block_scale.h"

namespace fathom {
namespace {

constexpr std::int64_t kRowsPerTile = 512;             // enough to make packing the weights cheap
constexpr std::int64_t kColumnsPerTile = kScaleBlock;  // FP8 weights are cut where blocks end

void cut_columns(std::vector<ExpertTile>& tiles, const ExpertTile& whole, std::int64_t step) {
  for (std::int64_t column = whole.column_begin; column < whole.column_end; column += step)
    tiles.push_back(
        {whole.expert, whole.begin, whole.end, column, std::min(whole.column_end, column + step)});
}

/// As many slots for each token.
std::vector<std::int32_t> uniform_slots(const Routing& routing) {
  require(routing.tokens * routing.top_k <= INT32_MAX,
          "{} tokens with {} experts each are more than one call can route", routing.tokens, routing.top_k);
  std::vector<std::int32_t> first_slot;
  first_slot.reserve(static_cast<std::size_t>(routing.tokens) + 1);
  for (std::int64_t t = 0; t <= routing.tokens; ++t)
    first_slot.push_back(static_cast<std::int32_t>(t * routing.top_k));
  return first_slot;
}

ExpertGroups group(std::vector<std::int32_t> first_slot, std::span<const std::int32_t> experts,
                   std::size_t expert_count) {
  ExpertGroups groups;
  groups.first_slot = std::move(first_slot);
  groups.offsets.assign(expert_count + 1, 0);
  for (const std::int32_t e : experts) ++groups.offsets[static_cast<std::size_t>(e) + 1];
  for (std::size_t e = 0; e < expert_count; ++e) groups.offsets[e + 1] += groups.offsets[e];
  groups.slot_of_row.resize(experts.size());
  groups.row_of_slot.resize(experts.size());
  groups.token_of_row.resize(experts.size());
  std::vector<std::int64_t> next(groups.offsets.begin(), groups.offsets.end() - 1);
  for (std::size_t t = 0; t + 1 < groups.first_slot.size(); ++t)
    for (std::int32_t slot = groups.first_slot[t]; slot < groups.first_slot[t + 1]; ++slot) {
      const auto at = static_cast<std::size_t>(slot);
      const std::int64_t row = next[static_cast<std::size_t>(experts[at])]++;
      groups.slot_of_row[static_cast<std::size_t>(row)] = slot;
      groups.row_of_slot[at] = static_cast<std::int32_t>(row);
      groups.token_of_row[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(t);
    }
  return groups;
}

}  // namespace

ExpertChoices choices_of(const Routing& routing) {
  return {uniform_slots(routing), routing.experts, routing.gates};
}

ExpertGroups group_by_expert(const Routing& routing) {
  return group(uniform_slots(routing), routing.experts, routing.load.size());
}

ExpertGroups group_by_expert(const ExpertChoices& choices, std::int64_t n_routed_experts) {
  return group(choices.first_slot, choices.experts, static_cast<std::size_t>(n_routed_experts));
}

std::vector<ExpertTile> cut_for_outputs(const ExpertGroups& groups, std::int64_t columns) {
  std::vector<ExpertTile> tiles;
  for (std::size_t e = 0; e + 1 < groups.offsets.size(); ++e) {
    const std::int64_t end = groups.offsets[e + 1];
    for (std::int64_t row = groups.offsets[e]; row < end; row += kRowsPerTile) {
      const ExpertTile whole{static_cast<std::int64_t>(e), row, std::min(end, row + kRowsPerTile), 0,
                             columns};
      cut_columns(tiles, whole, whole.rows() <= kFewRows ? kColumnsPerTile : columns);
    }
  }
  std::ranges::stable_sort(tiles, [](const ExpertTile& a, const ExpertTile& b) {
    return a.rows() * a.columns() > b.rows() * b.columns();
  });
  return tiles;
}

}  // namespace fathom
