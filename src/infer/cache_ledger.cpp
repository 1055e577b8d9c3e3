#include "infer/cache_ledger.h"

#include <algorithm>
#include <cstddef>

namespace fathom {

CacheLedger::CacheLedger(int ranks, std::int64_t capacity)
    : capacity_(capacity), promised_(static_cast<std::size_t>(ranks)) {}

std::optional<std::vector<int>> CacheLedger::reserve(const std::vector<RankRange>& ranges,
                                                     std::int64_t positions) {
  const std::scoped_lock lock(mutex_);
  std::vector<int> chosen;
  for (const RankRange& range : ranges) {
    const auto least = std::min_element(promised_.begin() + range.begin, promised_.begin() + range.end);
    if (positions > capacity_ - *least) return std::nullopt;
    chosen.push_back(static_cast<int>(least - promised_.begin()));
  }
  for (const int rank : chosen) promised_[static_cast<std::size_t>(rank)] += positions;
  return chosen;
}

void CacheLedger::release(int rank, std::int64_t positions) {
  const std::scoped_lock lock(mutex_);
  promised_[static_cast<std::size_t>(rank)] -= positions;
}

}  // namespace fathom
