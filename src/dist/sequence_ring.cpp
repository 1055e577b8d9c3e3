#include "dist/sequence_ring.h"

#include <algorithm>
#include <vector>

#include "base/turns.h"
#include "dist/collectives.h"

namespace fathom {
namespace {

constexpr int kRingTag = 0;

}  // namespace

SequenceRing::SequenceRing(Communicator& ranks)
    : forward_(ranks.split(0, ranks.rank())), backward_(ranks.split(0, ranks.rank())) {}

SequencePeers::Arriving SequenceRing::pass(std::span<const std::byte> out, std::span<std::byte> in,
                                           Direction direction) {
  Communicator& ranks = direction == Direction::forward ? *forward_ : *backward_;
  Transfers both;
  both.add(ranks.receive(in, (ranks.rank() + ranks.size() - 1) % ranks.size(), kRingTag));
  both.add(ranks.send(out, (ranks.rank() + 1) % ranks.size(), kRingTag));
  return [both]() mutable { Turns::wait(both); };
}

void SequenceRing::sum(std::span<std::int64_t> values) {
  const auto ranks = static_cast<std::size_t>(forward_->size());
  const auto own = static_cast<std::size_t>(forward_->rank());
  std::vector<std::int64_t> all(ranks * values.size());
  std::ranges::copy(values, all.begin() + static_cast<std::ptrdiff_t>(own * values.size()));
  std::vector<std::size_t> bounds;
  for (std::size_t r = 0; r <= ranks; ++r) bounds.push_back(r * values.size_bytes());
  Turns::wait(all_gather(*forward_, std::as_writable_bytes(std::span(all)), bounds));
  std::ranges::fill(values, 0);
  for (std::size_t i = 0; i < all.size(); ++i) values[i % values.size()] += all[i];
}

}  // namespace fathom
