#include "train/sample_packs.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>

#include "base/error.h"

namespace fathom {

std::vector<SamplePack> pack_samples(std::span<const std::int64_t> rows, std::int64_t capacity) {
  std::vector<std::int64_t> order;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    require(rows[i] <= capacity, "a sample of {} rows for packs of {}", rows[i], capacity);
    if (rows[i] > 0) order.push_back(static_cast<std::int64_t>(i));
  }
  const auto rows_of = [&](std::int64_t sample) { return rows[static_cast<std::size_t>(sample)]; };
  std::ranges::stable_sort(order, std::greater<>(), rows_of);
  std::vector<SamplePack> packs;
  std::multimap<std::int64_t, std::size_t> with_room;  // room left -> pack
  for (const std::int64_t sample : order) {
    const auto best = with_room.lower_bound(rows_of(sample));
    std::size_t pack = packs.size();
    std::int64_t room = capacity;
    if (best == with_room.end()) {
      packs.emplace_back();
    } else {
      room = best->first;
      pack = best->second;
      with_room.erase(best);
    }
    packs[pack].push_back(sample);
    if (room > rows_of(sample)) with_room.emplace(room - rows_of(sample), pack);
  }
  return packs;
}

}  // namespace fathom
