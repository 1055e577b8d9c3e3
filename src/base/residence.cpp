#include "base/residence.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace fathom {

void Residence::add(const void* begin, std::size_t bytes, std::size_t node) {
  if (bytes == 0) return;
  const auto* first = static_cast<const std::byte*>(begin);
  require(parts_.empty() || parts_.back().end <= first, "parts of memory are added in their order");
  if (!parts_.empty() && parts_.back().end == first && parts_.back().node == node) {
    parts_.back().end += bytes;
  } else {
    parts_.push_back({first, first + bytes, node});
  }
}

void Residence::add_mirror(const void* begin, std::size_t bytes, std::vector<const void*> copies) {
  const auto* first = static_cast<const std::byte*>(begin);
  mirrors_.push_back({first, first + bytes, std::move(copies)});
}

std::optional<std::size_t> Residence::node_of(const void* at) const {
  const auto* address = static_cast<const std::byte*>(at);
  const auto part = std::ranges::upper_bound(parts_, address, {}, &Part::end);
  if (part == parts_.end() || address < part->begin) return std::nullopt;
  return part->node;
}

const void* Residence::nearest(const void* at, std::size_t node) const {
  const auto* address = static_cast<const std::byte*>(at);
  for (const Mirror& mirror : mirrors_)
    if (address >= mirror.begin && address < mirror.end)
      return static_cast<const std::byte*>(mirror.copies[node]) + (address - mirror.begin);
  return at;
}

}  // namespace fathom
