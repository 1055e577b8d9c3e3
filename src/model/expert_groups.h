#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/router.h"

namespace fathom {

/// Which experts each of some rows goes to: row r has the slots [first_slot[r], first_slot[r + 1]), each one
/// expert and the weight that its output gets.
struct ExpertChoices {
  std::vector<std::int32_t> first_slot = {0};  // [rows + 1]
  std::vector<std::int32_t> experts;           // [slots], distinct within a row
  std::vector<float> gates;                    // [slots]

  [[nodiscard]] std::int64_t rows() const { return static_cast<std::int64_t>(first_slot.size()) - 1; }
};
ExpertChoices choices_of(const Routing& routing);

/// Slots in grouped order: expert 0's first, then expert 1's, and so on; within an expert as the tokens come.
/// A row of a grouped tensor belongs to one slot, a (token, choice) pair.
struct ExpertGroups {
  std::vector<std::int64_t> offsets;       // [n_routed_experts + 1], where each expert's rows begin
  std::vector<std::int32_t> first_slot;    // [tokens + 1], where each token's slots begin
  std::vector<std::int32_t> slot_of_row;   // [slots]
  std::vector<std::int32_t> row_of_slot;   // [slots], its inverse
  std::vector<std::int32_t> token_of_row;  // [slots]

  [[nodiscard]] std::int64_t rows() const { return offsets.back(); }
  [[nodiscard]] std::int64_t tokens() const { return static_cast<std::int64_t>(first_slot.size()) - 1; }
  [[nodiscard]] std::int64_t slot(std::int64_t row) const {
    return slot_of_row[static_cast<std::size_t>(row)];
  }
  [[nodiscard]] std::int64_t token(std::int64_t row) const {
    return token_of_row[static_cast<std::size_t>(row)];
  }
  /// Where a token's slots begin, and how many they are.
  [[nodiscard]] std::int64_t slot_begin(std::int64_t token) const {
    return first_slot[static_cast<std::size_t>(token)];
  }
  [[nodiscard]] std::int64_t slot_count(std::int64_t token) const {
    return slot_begin(token + 1) - slot_begin(token);
  }
};

/// A stable counting sort.
ExpertGroups group_by_expert(const Routing& routing);
ExpertGroups group_by_expert(const ExpertChoices& choices, std::int64_t n_routed_experts);

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
