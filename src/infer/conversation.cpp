#include "infer/conversation.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

CacheFileKey key_of(const LatentCache& cache, std::uint64_t fingerprint) {
  const LatentPageLayout& layout = cache.table().layout();
  return {fingerprint, layout.row, layout.layers};
}

/// Calls `copy(row in the cache, offset in the file, bytes)` for runs of rows that lie together.
template <typename Copy>
void for_each_run(const LatentCache& cache, std::int64_t length, const Copy& copy) {
  const LatentPageLayout& layout = cache.table().layout();
  const std::int64_t row_bytes = layout.row.row_bytes();
  for (const LatentCacheLayer& layer : cache.layers)
    for (std::int64_t begin = 0; begin < length; begin += layout.positions) {
      const std::int64_t count = std::min(layout.positions, length - begin);
      copy(layer.rows().row(begin), static_cast<std::size_t>((layer.layer * length + begin) * row_bytes),
           static_cast<std::size_t>(count * row_bytes));
    }
}

}  // namespace

std::int64_t Conversation::keep_beginning_of(std::span<const std::int32_t> prompt) {
  const auto alike = std::ranges::mismatch(tokens, prompt).in1 - tokens.begin();
  cache.truncate(std::min<std::int64_t>(alike, static_cast<std::int64_t>(prompt.size()) - 1));
  tokens.assign(prompt.begin(), prompt.end());
  return cache.length();
}

void save_conversation(const std::filesystem::path& path, std::uint64_t fingerprint,
                       const Conversation& conversation) {
  const LatentCache& cache = conversation.cache;
  const std::int64_t length = std::min(cache.length(), static_cast<std::int64_t>(conversation.tokens.size()));
  std::vector<std::byte> rows(static_cast<std::size_t>(length * cache.table().layout().position_bytes()));
  for_each_run(cache, length, [&](const std::byte* row, std::size_t offset, std::size_t bytes) {
    std::copy_n(row, bytes, rows.data() + offset);
  });
  write_cache_file(path, key_of(cache, fingerprint), conversation.tokens, {0, length}, rows);
}

void load_conversation(const std::filesystem::path& path, std::uint64_t fingerprint,
                       Conversation& conversation) {
  LatentCache& cache = conversation.cache;
  CachedText text = read_cache_file(path, key_of(cache, fingerprint));
  require(text.range.begin == 0, "{}: a page of a prefix cache, not a conversation", path.string());
  require(text.range.end <= cache.capacity, "{}: {} tokens, and there is room for {}", path.string(),
          text.range.end, cache.capacity);
  cache.table().reserve(text.range.end);
  for_each_run(cache, text.range.end, [&](std::byte* row, std::size_t offset, std::size_t bytes) {
    std::copy_n(text.rows.data() + offset, bytes, row);
  });
  cache.set_length(text.range.end);
  conversation.tokens = std::move(text.tokens);
}

}  // namespace fathom
