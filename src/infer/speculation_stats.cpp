#include "infer/speculation_stats.h"

#include <algorithm>
#include <cstddef>

namespace fathom {

void SpeculationStats::count(std::int64_t drafted_here, std::int64_t checked_here,
                             std::int64_t accepted_here) {
  ++passes;
  drafted += drafted_here;
  checked += checked_here;
  accepted += accepted_here;
  const std::int64_t offered = std::min(checked_here, accepted_here + 1);
  if (places.size() < static_cast<std::size_t>(offered)) places.resize(static_cast<std::size_t>(offered));
  for (std::int64_t i = 0; i < offered; ++i) {
    Place& place = places[static_cast<std::size_t>(i)];
    ++place.offered;
    if (i < accepted_here) ++place.accepted;
  }
}

void SpeculationStats::add(const SpeculationStats& more) {
  passes += more.passes;
  drafted += more.drafted;
  checked += more.checked;
  accepted += more.accepted;
  places.resize(std::max(places.size(), more.places.size()));
  for (std::size_t i = 0; i < more.places.size(); ++i) {
    places[i].offered += more.places[i].offered;
    places[i].accepted += more.places[i].accepted;
  }
}

}  // namespace fathom
