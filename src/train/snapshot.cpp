#include "train/snapshot.h"

#include <algorithm>
#include <cstring>

#include "tensor/storage.h"

namespace fathom {
namespace {

constexpr std::size_t kAlignment = 64;
/// Large against the cost of taking a piece, small against what a thread that needs the tensors may wait for.
constexpr std::size_t kPieceBytes = std::size_t{1} << 18U;

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

Snapshot::Snapshot(std::vector<Tensor> sources) : sources_(std::move(sources)) {
  std::size_t total = 0;
  for (const Tensor& source : sources_) total += aligned(source.byte_size());
  const std::shared_ptr<void> memory = allocate_storage(total);
  auto* place = static_cast<std::byte*>(memory.get());
  for (const Tensor& source : sources_) {
    copies_.push_back(Tensor::view(place, source.shape(), source.dtype(), memory));
    for (std::size_t at = 0; at < source.byte_size(); at += kPieceBytes)
      pieces_.push_back(
          {source.bytes().data() + at, place + at, std::min(kPieceBytes, source.byte_size() - at)});
    place += aligned(source.byte_size());
  }
  left_ = pieces_.size();
}

void Snapshot::copy() {
  for (std::size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < pieces_.size();) {
    std::memcpy(pieces_[i].to, pieces_[i].from, pieces_[i].bytes);
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_all();
  }
}

void Snapshot::wait() const {
  for (std::size_t left; (left = left_.load(std::memory_order_acquire)) != 0;) left_.wait(left);
}

bool Snapshot::done() const {
  return left_.load(std::memory_order_acquire) == 0;
}

}  // namespace fathom
