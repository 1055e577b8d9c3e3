#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace fathom {

/// Memory, and the cores that are nearest to it.
struct NumaNode {
  unsigned number = 0;                       // as the system counts nodes
  std::uint64_t memory = 0;                  // bytes; 0: nobody said
  std::vector<std::vector<unsigned>> cores;  // of each its processing units, as the system counts them
};

/// The nodes of a machine that have cores.
struct Topology {
  std::vector<NumaNode> nodes;
};

/// This machine, as far as this process may use it: of nodes and processing units those that its control
/// group, its affinity and its memory policy leave (cpusets, taskset, numactl). Cores count as the first of
/// several nodes beside them; nodes without cores, such as memory on an expansion card, are left out. One
/// node with everything where the system says nothing.
Topology machine_topology();

/// A machine that is described as hwloc's synthetic topologies are: "pack:2 [numa(memory=384GB)] core:32
/// pu:2" are two packages, each a node of 384 GB with 32 cores of two threads. Throws `UsageError` for what
/// hwloc does not understand, and for more than 65,536 of anything.
Topology described_topology(const std::string& description);

/// Puts threads and memory of this process where they belong. Thread-safe.
class NumaBinder {
 public:
  NumaBinder() = default;
  virtual ~NumaBinder() = default;
  NumaBinder(const NumaBinder&) = delete;
  NumaBinder& operator=(const NumaBinder&) = delete;

  /// From now on the calling thread, and those that it starts, run on these processing units. Throws `Error`
  /// where they may not.
  virtual void bind_thread(std::span<const unsigned> units) = 0;
  /// Pages that nobody has touched yet will be a node's, as long as it has some.
  /// @return false where the system forbids it, as containers may: then they are that of who touches them
  /// first
  virtual bool bind_memory(void* begin, std::size_t bytes, unsigned node) = 0;
  /// What the calling thread, and those that it starts from now on, touch first comes from these nodes by
  /// turns, page by page. @return see `bind_memory`
  virtual bool spread_memory(std::span<const unsigned> nodes) = 0;
};

/// That of this machine.
std::unique_ptr<NumaBinder> machine_binder();

}  // namespace fathom
