#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "dist/communicator.h"
#include "model/sequence_peers.h"

namespace fathom {

/// The ring of context parallelism: the ranks of a communicator, the last one's next being the first.
class SequenceRing : public SequencePeers {
 public:
  /// Called by all ranks. Keeps no reference.
  explicit SequenceRing(Communicator& ranks);

  [[nodiscard]] Arriving pass(std::span<const std::byte> out, std::span<std::byte> in,
                              Direction direction) override;
  void sum(std::span<std::int64_t> values) override;

 private:
  std::unique_ptr<Communicator> forward_;  // of the messages of either pass
  std::unique_ptr<Communicator> backward_;
};

}  // namespace fathom
