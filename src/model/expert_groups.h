#pragma once

#include <cstdint>
#include <vector>

#include "model/router.h"

namespace fathom {

/// The slots of a routing in grouped order: expert 0's first, then expert 1's, and so on; within an expert as
/// the tokens come. A row of a grouped tensor belongs to one slot (token * top_k + j).
struct ExpertGroups {
  std::int64_t top_k = 0;
  std::vector<std::int64_t> offsets;       // [n_routed_experts + 1], where each expert's rows begin
  std::vector<std::int32_t> slot_of_row;   // [tokens * top_k]
  std::vector<std::int32_t> row_of_slot;   // [tokens * top_k], its inverse
  std::vector<std::int32_t> token_of_row;  // [tokens * top_k]

  [[nodiscard]] std::int64_t rows() const { return offsets.back(); }
  [[nodiscard]] std::int64_t slot(std::int64_t row) const {
    return slot_of_row[static_cast<std::size_t>(row)];
  }
  [[nodiscard]] std::int64_t token(std::int64_t row) const {
    return token_of_row[static_cast<std::size_t>(row)];
  }
};

/// A stable counting sort.
ExpertGroups group_by_expert(const Routing& routing);

/// Work on one expert that one thread does at a time: rows [begin, end) of the grouped order and columns
/// [column_begin, column_end) of a matrix.
struct ExpertTile {
  std::int64_t expert;
  std::int64_t begin;
  std::int64_t end;
  std::int64_t column_begin;
  std::int64_t column_end;

  [[nodiscard]] std::int64_t rows() const { return end - begin; }
  [[nodiscard]] std::int64_t columns() const { return column_end - column_begin; }
};

/// Groups of at most this many rows are bound by reading the expert's weights, not by arithmetic.
inline constexpr std::int64_t kFewRows = 8;

/// Cuts products with a matrix of `columns` outputs into tiles, by sizes alone: many rows go in blocks that
/// span all columns, few rows are cut along the columns (where FP8 blocks end) so that all threads share
/// reading the weights. The largest tiles come first, so that no thread is left with one at the end.
std::vector<ExpertTile> cut_for_outputs(const ExpertGroups& groups, std::int64_t columns);

}  // namespace fathom
