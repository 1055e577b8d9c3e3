#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "train/sample_packs.h"
#include "train/sample_set.h"
#include "train/sequence_source.h"

namespace fathom {

/// Serves samples in packs, in a shuffled order, epoch after epoch. A place is a pack: several samples, at
/// most `sequence_length` rows together, each a sequence of its own that sees no other one and begins at
/// position 0. What is not learned has no target. Packs are the same in every epoch, and another order is.
class SampleLoader : public SequenceSource {
 public:
  /// Keeps a reference. Of samples longer than `sequence_length` + 1 the beginning is taken; those without
  /// anything to learn there are left out.
  /// Throws `Error` where none is left.
  SampleLoader(const SampleSet& samples, std::int64_t sequence_length, std::uint64_t seed);

  [[nodiscard]] Batch batch(std::int64_t position, std::int64_t count) const override;
  [[nodiscard]] std::int64_t targets(std::int64_t position, std::int64_t count) const override;

  /// Packs [first, first + count) as they are, in no shuffled order.
  [[nodiscard]] Batch packs(std::int64_t first, std::int64_t count) const;
  [[nodiscard]] std::int64_t targets_of_packs(std::int64_t first, std::int64_t count) const;

  [[nodiscard]] std::int64_t packs_per_epoch() const { return static_cast<std::int64_t>(packs_.size()); }
  /// Samples of which only the beginning is taken.
  [[nodiscard]] std::int64_t cut_samples() const { return cut_samples_; }
  /// Samples that are left out.
  [[nodiscard]] std::int64_t left_out() const { return left_out_; }
  /// The part of all packs' rows that samples fill.
  [[nodiscard]] double fill() const;

 private:
  [[nodiscard]] std::size_t pack_at(std::int64_t position) const;
  void append(std::size_t pack, Batch& batch) const;

  const SampleSet& samples_;
  std::int64_t sequence_length_;
  std::uint64_t seed_;
  std::vector<std::int64_t> rows_;  // [samples], 0: left out
  std::vector<SamplePack> packs_;
  std::vector<std::int64_t> targets_;  // [packs]
  std::int64_t cut_samples_ = 0;
  std::int64_t left_out_ = 0;
};

}  // namespace fathom
