#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "dist/communicator.h"
#include "tensor/tensor.h"

namespace fathom {

// What all ranks of a communicator do together, in the same order on each, made of its messages alone. Sums
// are taken in f32 (or double) over the ranks in ascending order, so they are the same on every rank, in
// every run, and over every transport. With one rank all of them are free.

/// Several messages under way.
class Transfers {
 public:
  void add(Transfer transfer) { list_.push_back(std::move(transfer)); }
  void add(Transfers others) { list_.insert(list_.end(), others.list_.begin(), others.list_.end()); }
  [[nodiscard]] bool done() const;
  /// Waits for all of them; they are forgotten then.
  void wait();

 private:
  std::vector<Transfer> list_;
};

/// Returns when all ranks have called it.
void barrier(Communicator& ranks);

/// Copies the bytes of `root` to all others. Waits.
void broadcast(Communicator& ranks, std::span<std::byte> bytes, int root);

/// The text of `root`. Waits.
std::string broadcast_text(Communicator& ranks, std::string text, int root);

/// Sends part r of `out` to rank r and receives part r of `in` from it; the own part is copied at once. No
/// waiting: the parts must stay where they are until it is done.
/// @param out, in  [ranks]; lengths may differ, but what one rank sends is what the other receives
Transfers all_to_all(Communicator& ranks, std::span<const std::span<const std::byte>> out,
                     std::span<const std::span<std::byte>> in);

/// Gathers what each rank has of `bytes`: rank r's part is [bounds[r], bounds[r + 1]), in its place already.
/// No waiting: the bytes must stay as they are until it is done.
/// @param bounds  [ranks + 1], ascending, the same on all ranks
Transfers all_gather(Communicator& ranks, std::span<std::byte> bytes, std::span<const std::size_t> bounds);

/// One value of each rank, by rank. Waits.
template <typename T>
requires std::is_trivially_copyable_v<T> std::vector<T> all_gather_values(Communicator& ranks,
                                                                          const T& value) {
  std::vector<T> all(static_cast<std::size_t>(ranks.size()), value);
  std::vector<std::size_t> bounds;
  for (std::size_t r = 0; r <= all.size(); ++r) bounds.push_back(r * sizeof(T));
  all_gather(ranks, std::as_writable_bytes(std::span(all)), bounds).wait();
  return all;
}

/// values[i] = the sum of all ranks' values[i]. Waits. For few: each rank sends all of them to every other.
void all_sum(Communicator& ranks, std::span<double> values);
void all_sum(Communicator& ranks, std::span<std::int64_t> values);

/// The sums of all ranks' values, each on the rank that it belongs to. The constructor begins: messages
/// travel while the ranks compute. After `finish`, rank r has the sums of [bounds[r], bounds[r + 1]) in their
/// place; what it has elsewhere is as before. All ranks begin and finish several in the same order. The
/// values must stay as they are until it is finished. Memory: while under way, as much as the values take.
/// @param bounds  [ranks + 1], ascending, the same on all ranks
class ReduceScatter {
 public:
  ReduceScatter(Communicator& ranks, std::span<float> values, std::span<const std::size_t> bounds);

  /// Waits, and sums up.
  void finish(ThreadPool& pool);

 private:
  int rank_;
  std::span<float> own_;
  std::vector<Tensor> received_;    // [ranks], what each has of the own part; undefined for the own one
  std::vector<Transfer> receives_;  // [ranks]
  Transfers sends_;
};

}  // namespace fathom
