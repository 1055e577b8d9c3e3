#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace fathom {

/// Which memory node what addresses lie on, and where there are copies. Nodes are counted from 0.
class Residence {
 public:
  /// [begin, begin + bytes) lies on `node`. Added from low addresses to high ones.
  void add(const void* begin, std::size_t bytes, std::size_t node);
  /// Node n has a copy of [begin, begin + bytes) at copies[n]; `begin` itself is one of them.
  void add_mirror(const void* begin, std::size_t bytes, std::vector<const void*> copies);

  /// Nothing where an address was not added, or every node has it.
  [[nodiscard]] std::optional<std::size_t> node_of(const void* at) const;
  /// Where node `node` reads what lies at `at`: a copy, if it has one.
  [[nodiscard]] const void* nearest(const void* at, std::size_t node) const;

 private:
  struct Part {
    const std::byte* begin;
    const std::byte* end;
    std::size_t node;
  };
  struct Mirror {
    const std::byte* begin;
    const std::byte* end;
    std::vector<const void*> copies;
  };
  std::vector<Part> parts_;
  std::vector<Mirror> mirrors_;
};

}  // namespace fathom
