#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "model/direction.h"

namespace fathom {

/// Ranks that share sequences out, as `Sequences` says which has what (context parallelism), and pass on in a
/// ring what each needs of the others (arXiv 2310.01889). All of them call the same functions in the same
/// order, within a pass.
class SequencePeers {
 public:
  virtual ~SequencePeers() = default;
  SequencePeers(const SequencePeers&) = delete;
  SequencePeers& operator=(const SequencePeers&) = delete;

  using Arriving = std::function<void()>;
  /// Begins to send bytes to the next rank, and to receive some from the one before; all of them must stay
  /// where they are until what is returned was called, which waits.
  [[nodiscard]] virtual Arriving pass(std::span<const std::byte> out, std::span<std::byte> in,
                                      Direction direction) = 0;

  /// values[i] = the sum of all ranks' values[i]. Waits. Of forward passes.
  virtual void sum(std::span<std::int64_t> values) = 0;

 protected:
  SequencePeers() = default;
};

}  // namespace fathom
