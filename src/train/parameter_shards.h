#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "train/optimizer_kind.h"
#include "train/parallel_layout.h"

namespace fathom {

/// Which rank moves which parameters and keeps their moments (ZeRO stage 1, arXiv 1910.02054). Parameters are
/// taken layer by layer, in buckets of those that the same ranks hold; of each bucket every one of them has a
/// run of rows in checkpoint order, as long as the others' but for a row, so that all have something to do
/// with whatever is ready first. Muon's matrices are not cut. A function of config, optimizer and layout
/// alone.
class ParameterShards {
 public:
  ParameterShards(const ModelConfig& config, OptimizerKind optimizer, const ParallelLayout& layout);

  struct Rows {
    std::int64_t begin = 0;
    std::int64_t end = 0;

    [[nodiscard]] std::int64_t count() const { return end - begin; }
  };
  /// Those of a parameter that a rank moves; none: begin = end. All ranks' together are all rows, once.
  [[nodiscard]] Rows rows(const ParameterSpec& spec, int rank) const;
  [[nodiscard]] const ParallelLayout& layout() const { return layout_; }

  /// Parameters that follow one another, are of one layer and on the same ranks.
  struct Bucket {
    std::int64_t layer = 0;   // as `ParameterSpec::layer`
    std::size_t holders = 0;  // which of `holder_sets()`
    std::size_t first = 0;    // parameter
    /// Places in the bucket as it lies in a block of f32 weights (`block_of`): the i-th holder's are
    /// [bounds[i], bounds[i + 1]), the gaps between parameters among them.
    std::vector<std::size_t> bounds;  // [holders + 1], from 0
  };
  [[nodiscard]] const std::vector<Bucket>& buckets() const { return buckets_; }
  /// Each ascending; in the order in which the parameters name them first.
  [[nodiscard]] const std::vector<std::vector<int>>& holder_sets() const { return holder_sets_; }

  /// A bucket as one of its holders sees it.
  struct PlacedBucket {
    const Bucket* bucket = nullptr;
    std::size_t begin = 0;  // its place in the rank's block of weights
    std::size_t own = 0;    // which of the holders the rank is

    /// The same as `Bucket::bounds`, in the rank's block.
    [[nodiscard]] std::vector<std::size_t> bounds() const;
  };
  /// Those that a rank holds, in the order of the block.
  [[nodiscard]] std::vector<PlacedBucket> held_by(int rank) const;

 private:
  void add_bucket(std::span<const ParameterSpec> specs, OptimizerKind optimizer, std::size_t holders);
  /// Where a run of rows that is to begin near `fair` does.
  [[nodiscard]] std::int64_t cut_near(std::int64_t fair, std::span<const ParameterSpec> specs,
                                      OptimizerKind optimizer) const;
  [[nodiscard]] std::size_t holder_set(std::vector<int> holders);

  ParallelLayout layout_;
  std::vector<std::int64_t> offsets_;  // [parameters + 1], where each begins in a block of all parameters
  std::vector<std::vector<int>> holder_sets_;
  std::vector<Bucket> buckets_;
  std::vector<std::size_t> bucket_of_;  // [parameters]
};

}  // namespace fathom
