#include "dist/collectives.h"

#include <algorithm>
#include <utility>

#include "kernels/vector_ops.h"

namespace fathom {
namespace {

// Each collective has a tag of its own among those that users of a communicator leave free, so that ranks
// which are one collective apart do not take one message for another.
enum : int { kBarrierTag = Communicator::kTags, kBroadcastTag, kAllToAllTag, kAllGatherTag, kReduceTag };

/// The others, each rank beginning with the next one: so no rank is everybody's first.
std::vector<int> other_ranks(const Communicator& ranks) {
  std::vector<int> others;
  for (int i = 1; i < ranks.size(); ++i) others.push_back((ranks.rank() + i) % ranks.size());
  return others;
}

/// What lies between a rank's bounds.
template <typename T>
std::span<T> part_of(std::span<T> whole, std::span<const std::size_t> bounds, int rank) {
  const std::size_t begin = bounds[static_cast<std::size_t>(rank)];
  return whole.subspan(begin, bounds[static_cast<std::size_t>(rank) + 1] - begin);
}

template <typename T>
void all_sum_of(Communicator& ranks, std::span<T> values) {
  if (ranks.size() == 1 || values.empty()) return;
  const auto count = static_cast<std::size_t>(ranks.size());
  std::vector<T> all(count * values.size());
  std::copy(
      values.begin(), values.end(),
      all.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(ranks.rank()) * values.size()));
  std::vector<std::size_t> bounds;
  for (std::size_t r = 0; r <= count; ++r) bounds.push_back(r * values.size_bytes());
  all_gather(ranks, std::as_writable_bytes(std::span(all)), bounds).wait();
  std::ranges::fill(values, T{});
  for (std::size_t r = 0; r < count; ++r)
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += all[r * values.size() + i];
}

}  // namespace

bool Transfers::done() const {
  return std::ranges::all_of(list_, [](const Transfer& transfer) { return transfer.done(); });
}

void Transfers::wait() {
  for (const Transfer& transfer : list_) transfer.wait();
  list_.clear();
}

void barrier(Communicator& ranks) {
  // Dissemination: after round i a rank has heard of the 2^(i+1) - 1 before it.
  for (int step = 1; step < ranks.size(); step *= 2) {
    Transfers both;
    both.add(ranks.receive({}, (ranks.rank() - step + ranks.size()) % ranks.size(), kBarrierTag));
    both.add(ranks.send({}, (ranks.rank() + step) % ranks.size(), kBarrierTag));
    both.wait();
  }
}

void broadcast(Communicator& ranks, std::span<std::byte> bytes, int root) {
  Transfers transfers;
  if (ranks.rank() != root) {
    transfers.add(ranks.receive(bytes, root, kBroadcastTag));
  } else {
    for (const int r : other_ranks(ranks)) transfers.add(ranks.send(bytes, r, kBroadcastTag));
  }
  transfers.wait();
}

std::string broadcast_text(Communicator& ranks, std::string text, int root) {
  std::size_t size = text.size();
  broadcast(ranks, std::as_writable_bytes(std::span(&size, 1)), root);
  text.resize(size);
  broadcast(ranks, std::as_writable_bytes(std::span(text)), root);
  return text;
}

Transfers all_to_all(Communicator& ranks, std::span<const std::span<const std::byte>> out,
                     std::span<const std::span<std::byte>> in) {
  Transfers transfers;
  for (const int r : other_ranks(ranks))
    transfers.add(ranks.receive(in[static_cast<std::size_t>(r)], r, kAllToAllTag));
  for (const int r : other_ranks(ranks))
    transfers.add(ranks.send(out[static_cast<std::size_t>(r)], r, kAllToAllTag));
  const auto own = static_cast<std::size_t>(ranks.rank());
  std::ranges::copy(out[own], in[own].begin());
  return transfers;
}

Transfers all_gather(Communicator& ranks, std::span<std::byte> bytes, std::span<const std::size_t> bounds) {
  const auto part = [&](int r) { return part_of(bytes, bounds, r); };
  Transfers transfers;
  for (const int r : other_ranks(ranks))
    if (!part(r).empty()) transfers.add(ranks.receive(part(r), r, kAllGatherTag));
  if (part(ranks.rank()).empty()) return transfers;
  for (const int r : other_ranks(ranks)) transfers.add(ranks.send(part(ranks.rank()), r, kAllGatherTag));
  return transfers;
}

void all_sum(Communicator& ranks, std::span<double> values) {
  all_sum_of(ranks, values);
}

void all_sum(Communicator& ranks, std::span<std::int64_t> values) {
  all_sum_of(ranks, values);
}

ReduceScatter::ReduceScatter(Communicator& ranks, std::span<float> values,
                             std::span<const std::size_t> bounds)
    : rank_(ranks.rank()),
      received_(static_cast<std::size_t>(ranks.size())),
      receives_(static_cast<std::size_t>(ranks.size())) {
  const auto part = [&](int r) { return part_of(values, bounds, r); };
  own_ = part(rank_);
  for (const int r : other_ranks(ranks)) {
    if (own_.empty()) break;
    Tensor& place = received_[static_cast<std::size_t>(r)];
    place = Tensor::empty({static_cast<std::int64_t>(own_.size())});
    receives_[static_cast<std::size_t>(r)] = ranks.receive(place.bytes(), r, kReduceTag);
  }
  for (const int r : other_ranks(ranks))
    if (!part(r).empty()) sends_.add(ranks.send(std::as_bytes(part(r)), r, kReduceTag));
}

void ReduceScatter::finish(ThreadPool& pool) {
  const auto count = static_cast<std::int64_t>(own_.size());
  float* sum = nullptr;
  for (int r = 0; r < static_cast<int>(received_.size()) && count > 0; ++r) {
    const auto at = static_cast<std::size_t>(r);
    receives_[at].wait();
    float* part = r == rank_ ? own_.data() : received_[at].f32();
    if (sum == nullptr) {
      sum = part;
    } else {
      kernels::add(pool, sum, part, count, sum);
    }
  }
  if (sum != own_.data()) std::ranges::copy(std::span(sum, own_.size()), own_.begin());
  sends_.wait();
}

}  // namespace fathom
