#include "infer/prefix_memory.h"

#include <algorithm>
#include <utility>

#include "base/checksum.h"

namespace fathom {
namespace {

std::uint64_t sum_of(std::span<const std::int32_t> tokens) {
  return checksum(std::as_bytes(tokens));
}

}  // namespace

std::uint64_t PrefixMemory::size_of(const Page& page) {
  return page.bytes.size() + page.tokens.size() * sizeof(std::int32_t);
}

bool PrefixMemory::has(std::span<const std::int32_t> tokens) const {
  const auto found = places_.find(sum_of(tokens));
  return found != places_.end() && std::ranges::equal(found->second->tokens, tokens);
}

const std::vector<std::byte>* PrefixMemory::find(std::span<const std::int32_t> tokens) {
  if (!has(tokens)) return nullptr;
  const Place place = places_.at(sum_of(tokens));
  by_use_.splice(by_use_.end(), by_use_, place);
  return &place->bytes;
}

std::vector<PrefixMemory::Page> PrefixMemory::put(Page page) {
  std::vector<Page> gone;
  const std::uint64_t size = size_of(page);
  if (size > most_bytes_) {
    gone.push_back(std::move(page));
    return gone;
  }
  const std::uint64_t sum = sum_of(page.tokens);
  // The same page, or, as good as never, one of other tokens with the same sum.
  if (const auto found = places_.find(sum); found != places_.end()) remove(found->second);
  while (bytes_ + size > most_bytes_) gone.push_back(remove(by_use_.begin()));
  bytes_ += size;
  places_[sum] = by_use_.insert(by_use_.end(), std::move(page));
  return gone;
}

std::vector<PrefixMemory::Page> PrefixMemory::take_all() {
  std::vector<Page> all;
  while (!by_use_.empty()) all.push_back(remove(by_use_.begin()));
  return all;
}

PrefixMemory::Page PrefixMemory::remove(Place place) {
  Page page = std::move(*place);
  bytes_ -= size_of(page);
  places_.erase(sum_of(page.tokens));
  by_use_.erase(place);
  return page;
}

}  // namespace fathom
