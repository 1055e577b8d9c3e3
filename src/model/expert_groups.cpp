#include "model/expert_groups.h"

#include <algorithm>
#include <cstddef>

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

}  // namespace

ExpertGroups group_by_expert(const Routing& routing) {
  const std::int64_t slots = routing.tokens * routing.top_k;
  require(slots <= INT32_MAX, "{} tokens with {} experts each are more than one call can route",
          routing.tokens, routing.top_k);
  ExpertGroups groups;
  groups.top_k = routing.top_k;
  groups.offsets.assign(routing.load.size() + 1, 0);
  for (std::size_t e = 0; e < routing.load.size(); ++e)
    groups.offsets[e + 1] = groups.offsets[e] + routing.load[e];
  groups.slot_of_row.resize(static_cast<std::size_t>(slots));
  groups.row_of_slot.resize(static_cast<std::size_t>(slots));
  groups.token_of_row.resize(static_cast<std::size_t>(slots));
  std::vector<std::int64_t> next(groups.offsets.begin(), groups.offsets.end() - 1);
  for (std::size_t slot = 0; slot < groups.row_of_slot.size(); ++slot) {
    const std::int64_t row = next[static_cast<std::size_t>(routing.experts[slot])]++;
    groups.slot_of_row[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(slot);
    groups.row_of_slot[slot] = static_cast<std::int32_t>(row);
    groups.token_of_row[static_cast<std::size_t>(row)] =
        static_cast<std::int32_t>(static_cast<std::int64_t>(slot) / routing.top_k);
  }
  return groups;
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
