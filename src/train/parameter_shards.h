#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "train/optimizer_kind.h"

namespace fathom {

/// Which rank moves which parameters and keeps their moments (ZeRO stage 1, arXiv 1910.02054). Parameters are
/// taken layer by layer, in buckets; of each bucket every rank has a run of rows in checkpoint order, as long
/// as the others' but for a row, so that all ranks have something to do with whatever is ready first. Muon's
/// matrices are not cut. A function of config, optimizer and number of ranks alone.
class ParameterShards {
 public:
  ParameterShards(const ModelConfig& config, OptimizerKind optimizer, int ranks);

  struct Rows {
    std::int64_t begin = 0;
    std::int64_t end = 0;

    [[nodiscard]] std::int64_t count() const { return end - begin; }
  };
  /// Those of a parameter that a rank has; none: begin = end.
  [[nodiscard]] Rows rows(const ParameterSpec& spec, int rank) const;
  [[nodiscard]] int ranks() const { return ranks_; }

  /// Parameters that follow one another and are of one layer.
  struct Bucket {
    std::int64_t layer = 0;  // as `ParameterSpec::layer`
    /// The same as places in a block of f32 weights (`block_of`): rank r's are [bounds[r], bounds[r + 1]),
    /// the gaps between parameters among them. A bucket begins where the one before ends.
    std::vector<std::size_t> bounds;  // [ranks + 1]
  };
  [[nodiscard]] const std::vector<Bucket>& buckets() const { return buckets_; }

 private:
  void add_bucket(std::span<const ParameterSpec> specs, OptimizerKind optimizer);
  /// Where a run of rows that is to begin near `fair` does.
  [[nodiscard]] std::int64_t cut_near(std::int64_t fair, std::span<const ParameterSpec> specs,
                                      OptimizerKind optimizer) const;

  int ranks_;
  std::vector<std::int64_t> offsets_;  // [parameters + 1], where in the block each begins
  std::vector<Bucket> buckets_;
  std::vector<std::size_t> bucket_of_;  // [parameters]
};

}  // namespace fathom
