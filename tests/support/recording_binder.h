#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "base/topology.h"

namespace fathom::test {

/// Binds nothing, and remembers what was to be bound: for machines that are only described.
class RecordingBinder : public NumaBinder {
 public:
  struct Area {
    const std::byte* begin;
    std::size_t bytes;
    unsigned node;
  };

  void bind_thread(std::span<const unsigned> units) override {
    const std::scoped_lock lock(mutex_);
    threads_.insert(std::vector(units.begin(), units.end()));
  }
  bool bind_memory(void* begin, std::size_t bytes, unsigned node) override {
    const std::scoped_lock lock(mutex_);
    areas_.push_back({static_cast<const std::byte*>(begin), bytes, node});
    return !forbids_memory_;
  }
  bool spread_memory(std::span<const unsigned> nodes) override {
    const std::scoped_lock lock(mutex_);
    spread_.assign(nodes.begin(), nodes.end());
    return !forbids_memory_;
  }

  /// As containers may.
  void forbid_memory() { forbids_memory_ = true; }

  /// The units that each thread was bound to.
  [[nodiscard]] const std::multiset<std::vector<unsigned>>& threads() const { return threads_; }
  [[nodiscard]] const std::vector<Area>& areas() const { return areas_; }
  /// The nodes that other memory comes from.
  [[nodiscard]] const std::vector<unsigned>& spread() const { return spread_; }
  /// The node that an address was bound to; -1: none.
  [[nodiscard]] int node_of(const void* at) const {
    for (const Area& area : areas_)
      if (at >= area.begin && at < area.begin + area.bytes) return static_cast<int>(area.node);
    return -1;
  }

 private:
  std::mutex mutex_;
  std::multiset<std::vector<unsigned>> threads_;
  std::vector<Area> areas_;
  std::vector<unsigned> spread_;
  bool forbids_memory_ = false;
};

}  // namespace fathom::test
