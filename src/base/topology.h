#pragma once

#include <cstddef>
#include <cstdint>
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

}  // namespace fathom
