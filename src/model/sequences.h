#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fathom {

/// How the rows of a [tokens, ...] tensor divide into sequences: sequence s is rows [offsets[s], offsets[s +
/// 1]). Attention stays within a sequence and positions start at 0 in each.
///
/// Sequences may be shared out over several ranks (context parallelism). Each sequence is then cut into twice
/// as many pieces as there are ranks, and rank r has pieces r and 2 · ranks - 1 - r, its rows in that order:
/// an early and a late one, so that causal attention is as much work on each.
struct Sequences {
  std::vector<std::int64_t> offsets;  // of the rows here

  int rank = 0;
  int ranks = 1;
  /// [sequences, 2 · ranks + 1] where each whole sequence is cut: piece j is positions [cuts[j], cuts[j +
  /// 1]); empty where sequences are whole.
  std::vector<std::int64_t> cuts = {};

  /// `count` sequences of `length` tokens each.
  static Sequences uniform(std::int64_t count, std::int64_t length);
  /// What a rank has of these whole sequences.
  [[nodiscard]] Sequences part(int of_rank, int of_ranks) const;
  /// What another of the ranks has of the same sequences.
  [[nodiscard]] Sequences part_of_rank(int other) const;
  /// The same sequences without their last `count` tokens (none left: empty), each other token where it was.
  [[nodiscard]] Sequences shortened(std::int64_t count) const;

  [[nodiscard]] bool are_shared() const { return ranks > 1; }
  [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  /// Rows here.
  [[nodiscard]] std::int64_t tokens() const { return offsets.back(); }
  [[nodiscard]] std::int64_t rows_of(std::int64_t sequence) const;
  /// Of a whole sequence, on all ranks together.
  [[nodiscard]] std::int64_t length(std::int64_t sequence) const;
  [[nodiscard]] std::int64_t whole_tokens() const;
  /// Sequences that hold a token, on any rank.
  [[nodiscard]] std::int64_t count_with_tokens() const;
  /// Rows of the earlier one of a sequence's two pieces here; of a whole sequence all of them.
  [[nodiscard]] std::int64_t early_rows(std::int64_t sequence) const;
  /// [tokens] each row's place in its sequence.
  [[nodiscard]] std::vector<std::int64_t> positions() const;
  /// Throws `Error` unless offsets rise from 0 to the number of rows.
  void check(std::int64_t rows) const;

 private:
  [[nodiscard]] std::int64_t cut(std::int64_t sequence, int piece) const {
    return cuts[static_cast<std::size_t>(sequence * (2 * ranks + 1) + piece)];
  }
  void take_rows_of_pieces();
};

}  // namespace fathom
