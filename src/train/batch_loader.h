#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "train/sequence_source.h"
#include "train/source_mix.h"
#include "train/token_dataset.h"

namespace fathom {

/// Cuts data into sequences and serves them in a shuffled order, epoch after epoch.
///
/// A sequence is `sequence_length` + 1 tokens that lie together in the data (the last is only a target), so
/// documents are packed without masks between them, as in the report's pre-training. The place in the data is
/// one number, the count of sequences served: sequence `position` is a pure function of (data, weights,
/// length, seed, position). It depends neither on threads, nor on the batch size, nor on what was asked
/// before. Where there are several sources, train/source_mix.h says which one a sequence comes from; each has
/// epochs of its own. Each epoch has its own order and begins at its own offset, so that boundaries move and
/// no tail is left out forever.
class BatchLoader : public SequenceSource {
 public:
  /// Keeps a reference to `data`. Throws `Error` when the data has not even one sequence.
  BatchLoader(const TokenDataset& data, std::int64_t sequence_length, std::uint64_t seed);
  /// Keeps references to the sources' tokens. Throws `Error` naming a source that has not even one sequence.
  BatchLoader(std::span<const SourceTokens> sources, std::int64_t sequence_length, std::uint64_t seed);

  /// Of one source.
  [[nodiscard]] std::int64_t sequences_per_epoch(std::size_t source = 0) const;
  /// The part of all sequences that comes from a source.
  [[nodiscard]] double share(std::size_t source) const { return mix_.share(source); }
  /// How often the first `positions` sequences go through a source.
  [[nodiscard]] double epochs(std::size_t source, std::int64_t positions) const;

  /// A place is one sequence.
  [[nodiscard]] Batch batch(std::int64_t position, std::int64_t count) const override;
  [[nodiscard]] std::int64_t targets(std::int64_t position, std::int64_t count) const override;

 private:
  struct Source {
    const TokenDataset* data = nullptr;
    std::int64_t per_epoch = 0;
  };

  void add_source(const TokenDataset& data, const std::string& name);
  /// Index of the first token of a sequence in its source.
  [[nodiscard]] std::int64_t begin_of(const SourceMix::Place& place) const;

  SourceMix mix_;
  std::int64_t sequence_length_;
  std::uint64_t seed_;
  std::vector<Source> sources_;
};

/// `targets` many targets that follow token `first`, in the data's own order, as one batch: sequences of
/// `sequence_length`, the last one shorter where they do not divide. Evaluation walks a split with it so that
/// each token but the very first is a target exactly once.
Batch consecutive_batch(const TokenDataset& data, std::int64_t first, std::int64_t targets,
                        std::int64_t sequence_length);

}  // namespace fathom
