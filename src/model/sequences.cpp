#include "model/sequences.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace fathom {

Sequences Sequences::uniform(std::int64_t count, std::int64_t length) {
  Sequences sequences;
  for (std::int64_t s = 0; s <= count; ++s) sequences.offsets.push_back(s * length);
  return sequences;
}

Sequences Sequences::part(int of_rank, int of_ranks) const {
  if (of_ranks == 1) return *this;
  Sequences shared{{}, of_rank, of_ranks};
  const std::int64_t pieces = 2 * std::int64_t{of_ranks};
  for (std::int64_t s = 0; s < count(); ++s)
    for (std::int64_t j = 0; j <= pieces; ++j) shared.cuts.push_back(rows_of(s) * j / pieces);
  shared.take_rows_of_pieces();
  return shared;
}

Sequences Sequences::part_of_rank(int other) const {
  Sequences theirs = *this;
  theirs.rank = other;
  if (are_shared()) theirs.take_rows_of_pieces();
  return theirs;
}

Sequences Sequences::shortened(std::int64_t count) const {
  Sequences shorter = *this;
  if (are_shared()) {
    for (std::int64_t s = 0; s < this->count(); ++s) {
      const std::int64_t left = std::max<std::int64_t>(length(s) - count, 0);
      for (int j = 0; j <= 2 * ranks; ++j) {
        std::int64_t& cut = shorter.cuts[static_cast<std::size_t>(s * (2 * ranks + 1) + j)];
        cut = std::min(cut, left);
      }
    }
    shorter.take_rows_of_pieces();
    return shorter;
  }
  for (std::int64_t s = 0; s < this->count(); ++s)
    shorter.offsets[static_cast<std::size_t>(s) + 1] =
        shorter.offsets[static_cast<std::size_t>(s)] + std::max<std::int64_t>(rows_of(s) - count, 0);
  return shorter;
}

void Sequences::take_rows_of_pieces() {
  offsets = {0};
  const int late = 2 * ranks - 1 - rank;
  const std::int64_t sequences = static_cast<std::int64_t>(cuts.size()) / (2 * ranks + 1);
  for (std::int64_t s = 0; s < sequences; ++s)
    offsets.push_back(offsets.back() + cut(s, rank + 1) - cut(s, rank) + cut(s, late + 1) - cut(s, late));
}

std::int64_t Sequences::rows_of(std::int64_t sequence) const {
  const auto s = static_cast<std::size_t>(sequence);
  return offsets[s + 1] - offsets[s];
}

std::int64_t Sequences::length(std::int64_t sequence) const {
  return are_shared() ? cut(sequence, 2 * ranks) : rows_of(sequence);
}

std::int64_t Sequences::whole_tokens() const {
  if (!are_shared()) return tokens();
  std::int64_t sum = 0;
  for (std::int64_t s = 0; s < count(); ++s) sum += length(s);
  return sum;
}

std::int64_t Sequences::count_with_tokens() const {
  std::int64_t with_tokens = 0;
  for (std::int64_t s = 0; s < count(); ++s) with_tokens += static_cast<std::int64_t>(length(s) > 0);
  return with_tokens;
}

std::int64_t Sequences::early_rows(std::int64_t sequence) const {
  return are_shared() ? cut(sequence, rank + 1) - cut(sequence, rank) : rows_of(sequence);
}

std::vector<std::int64_t> Sequences::positions() const {
  std::vector<std::int64_t> places(static_cast<std::size_t>(tokens()));
  auto row = places.begin();
  const auto number = [&](std::int64_t rows, std::int64_t first) {
    std::iota(row, row + rows, first);
    row += rows;
  };
  for (std::int64_t s = 0; s < count(); ++s) {
    const std::int64_t early = early_rows(s);
    number(early, are_shared() ? cut(s, rank) : 0);
    number(rows_of(s) - early, are_shared() ? cut(s, 2 * ranks - 1 - rank) : 0);
  }
  return places;
}

void Sequences::check(std::int64_t rows) const {
  require(!offsets.empty() && offsets.front() == 0 && tokens() == rows &&
              std::is_sorted(offsets.begin(), offsets.end()),
          "sequences that end at token {} for {} rows: offsets must rise from 0 to the number of rows",
          offsets.empty() ? 0 : tokens(), rows);
}

}  // namespace fathom
