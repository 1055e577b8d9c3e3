#include "infer/cache_transfer.h"

#include <cstddef>
#include <span>
#include <vector>

namespace fathom {
namespace {

std::vector<std::span<std::byte>> used_pages(const LatentCache& cache) {
  const LatentPageLayout& layout = cache.table().layout();
  std::vector<std::span<std::byte>> pages;
  for (std::int64_t i = 0; i < layout.pages(cache.length()); ++i)
    pages.emplace_back(static_cast<std::byte*>(cache.table().pages()[static_cast<std::size_t>(i)].get()),
                       static_cast<std::size_t>(layout.page_bytes()));
  return pages;
}

}  // namespace

Transfers send_cache(Communicator& ranks, LatentCache& cache, const Tensor& hidden, int to, int tag) {
  Transfers transfers;
  for (const std::span<std::byte> page : used_pages(cache)) transfers.add(ranks.send(page, to, tag));
  transfers.add(ranks.send(hidden.bytes(), to, tag));
  return transfers;
}

Transfers receive_cache(Communicator& ranks, LatentCache& cache, std::int64_t length, Tensor& hidden,
                        int from, int tag) {
  Transfers transfers;
  cache.table().reserve(length);
  cache.set_length(length);
  for (const std::span<std::byte> page : used_pages(cache)) transfers.add(ranks.receive(page, from, tag));
  transfers.add(ranks.receive(hidden.bytes(), from, tag));
  return transfers;
}

}  // namespace fathom
