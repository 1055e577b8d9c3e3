#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace fathom {

/// A copy of tensors as they are now, taken while others go on reading them: one thread copies piece after
/// piece, and whoever wants to change the tensors finishes the copy first.
///
/// Memory: as much as the tensors have, in one block that is fresh or left from the snapshot before.
class Snapshot {
 public:
  /// Copies nothing yet. Throws `Error` when memory is out.
  explicit Snapshot(std::vector<Tensor> sources);

  /// The copies, in the order of the sources; whole once `done` is true.
  [[nodiscard]] const std::vector<Tensor>& copies() const { return copies_; }

  /// Copies what nobody has taken yet, and returns when there is no more of it: other threads may still be
  /// copying their last piece. Any number of threads may call it.
  void copy();
  /// Waits for the last pieces.
  void wait() const;
  [[nodiscard]] bool done() const;

 private:
  struct Piece {
    const std::byte* from;
    std::byte* to;
    std::size_t bytes;
  };

  std::vector<Tensor> sources_;
  std::vector<Tensor> copies_;
  std::vector<Piece> pieces_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> left_;
};

}  // namespace fathom
