#include "base/topology.h"

#include <hwloc.h>

#include <cctype>
#include <memory>
#include <type_traits>

#include "base/error.h"

namespace fathom {
namespace {

struct FreeTopology {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using Hwloc = std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, FreeTopology>;

struct FreeSet {
  void operator()(hwloc_bitmap_t set) const { hwloc_bitmap_free(set); }
};
using Set = std::unique_ptr<std::remove_pointer_t<hwloc_bitmap_t>, FreeSet>;

Hwloc make_hwloc() {
  hwloc_topology_t topology = nullptr;
  require(hwloc_topology_init(&topology) == 0, "hwloc cannot start: {}", errno_text(errno));
  return Hwloc(topology);
}

Set copy_of(hwloc_const_bitmap_t set) {
  return Set(hwloc_bitmap_dup(set));
}

/// Takes the units of `set` out of `left` and gives them core by core.
std::vector<std::vector<unsigned>> take_cores(hwloc_topology_t topology, hwloc_const_cpuset_t set,
                                              hwloc_bitmap_t left) {
  std::vector<std::vector<unsigned>> cores;
  const Set own = copy_of(set);
  hwloc_bitmap_and(own.get(), own.get(), left);
  hwloc_bitmap_andnot(left, left, own.get());
  hwloc_obj_t last_core = nullptr;
  for (hwloc_obj_t unit = nullptr; (unit = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, unit));) {
    if (hwloc_bitmap_isset(own.get(), unit->os_index) == 0) continue;
    hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, unit);
    if (core == nullptr || core != last_core) cores.emplace_back();
    cores.back().push_back(unit->os_index);
    last_core = core;
  }
  return cores;
}

/// @param units  those that may be used
/// @param nodes  those that may be used
Topology read(hwloc_topology_t topology, hwloc_bitmap_t units, hwloc_const_nodeset_t nodes) {
  Topology read;
  for (hwloc_obj_t node = nullptr;
       (node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr;) {
    if (hwloc_bitmap_isset(nodes, node->os_index) == 0) continue;
    NumaNode own{node->os_index, node->attr->numanode.local_memory,
                 take_cores(topology, node->cpuset, units)};
    if (!own.cores.empty()) read.nodes.push_back(std::move(own));
  }
  return read;
}

/// The product of the numbers that say how many there are of something: what follows a colon, or begins a
/// word. What stands in parentheses are attributes.
double objects_in(const std::string& description) {
  double product = 1;
  int depth = 0;
  for (std::size_t i = 0; i < description.size(); ++i) {
    const char c = description[i];
    if (c == '(') ++depth;
    if (c == ')') --depth;
    const char before = i == 0 ? ' ' : description[i - 1];
    const bool begins = before == ':' || before == ' ';
    if (depth > 0 || !begins || std::isdigit(static_cast<unsigned char>(c)) == 0) continue;
    double number = 0;
    for (; i < description.size() && std::isdigit(static_cast<unsigned char>(description[i])) != 0; ++i)
      number = 10 * number + (description[i] - '0');
    --i;
    product *= number;
  }
  return product;
}

Set set_of(std::span<const unsigned> numbers) {
  Set set(hwloc_bitmap_alloc());
  for (const unsigned number : numbers) hwloc_bitmap_set(set.get(), number);
  return set;
}

Hwloc load_machine() {
  Hwloc hwloc = make_hwloc();
  require(hwloc_topology_load(hwloc.get()) == 0, "hwloc cannot read this machine's topology: {}",
          errno_text(errno));
  return hwloc;
}

class MachineBinder : public NumaBinder {
 public:
  void bind_thread(std::span<const unsigned> units) override {
    if (hwloc_set_cpubind(hwloc_.get(), set_of(units).get(), HWLOC_CPUBIND_THREAD) != 0)
      fail("a thread cannot be bound to processing unit {}: {}; leave --numa out", units.front(),
           errno_text(errno));
  }
  bool bind_memory(void* begin, std::size_t bytes, unsigned node) override {
    return hwloc_set_area_membind(hwloc_.get(), begin, bytes, set_of({&node, 1}).get(), HWLOC_MEMBIND_BIND,
                                  HWLOC_MEMBIND_BYNODESET) == 0;
  }
  bool spread_memory(std::span<const unsigned> nodes) override {
    return hwloc_set_membind(hwloc_.get(), set_of(nodes).get(), HWLOC_MEMBIND_INTERLEAVE,
                             HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET) == 0;
  }

 private:
  Hwloc hwloc_ = load_machine();
};

}  // namespace

std::unique_ptr<NumaBinder> machine_binder() {
  return std::make_unique<MachineBinder>();
}

Topology machine_topology() {
  const Hwloc hwloc = load_machine();
  // What control groups forbid hwloc leaves out itself.
  const Set units = copy_of(hwloc_topology_get_topology_cpuset(hwloc.get()));
  const Set bound(hwloc_bitmap_alloc());
  if (hwloc_get_cpubind(hwloc.get(), bound.get(), HWLOC_CPUBIND_THREAD) == 0)
    hwloc_bitmap_and(units.get(), units.get(), bound.get());
  const Set nodes = copy_of(hwloc_topology_get_topology_nodeset(hwloc.get()));
  hwloc_membind_policy_t policy = HWLOC_MEMBIND_DEFAULT;
  if (hwloc_get_membind(hwloc.get(), bound.get(), &policy, HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET) ==
          0 &&
      policy == HWLOC_MEMBIND_BIND)
    hwloc_bitmap_and(nodes.get(), nodes.get(), bound.get());
  Topology topology = read(hwloc.get(), units.get(), nodes.get());
  require(!topology.nodes.empty(), "no cores lie beside memory that this process may use: leave --numa out");
  return topology;
}

Topology described_topology(const std::string& description) {
  constexpr double kMost = 65536;
  if (objects_in(description) > kMost)
    throw UsageError(fmt::format("a machine described as \"{}\" has more than {} processing units",
                                 printable(description), kMost));
  const Hwloc hwloc = make_hwloc();
  if (hwloc_topology_set_synthetic(hwloc.get(), description.c_str()) != 0 ||
      hwloc_topology_load(hwloc.get()) != 0)
    throw UsageError(
        fmt::format("no machine is described by \"{}\": write it as hwloc's synthetic topologies are, as "
                    "\"pack:2 [numa(memory=384GB)] core:32 pu:2\"",
                    printable(description)));
  const Set units = copy_of(hwloc_topology_get_topology_cpuset(hwloc.get()));
  return read(hwloc.get(), units.get(), hwloc_topology_get_topology_nodeset(hwloc.get()));
}

}  // namespace fathom
