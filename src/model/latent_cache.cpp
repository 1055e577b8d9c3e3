#include "model/latent_cache.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "tensor/storage.h"

namespace fathom {

LatentPageLayout::LatentPageLayout(const ModelConfig& config, LatentType type, std::int64_t positions_,
                                   std::int64_t layers_)
    : row{type, config.kv_lora_rank, config.qk_rope_head_dim},
      layers(layers_ < 0 ? config.num_hidden_layers : layers_),
      positions(positions_) {
  require(positions > 0, "pages of {} positions of a latent cache: they need one at least", positions);
}

LatentPage allocate_page(const LatentPageLayout& layout) {
  return allocate_storage(static_cast<std::size_t>(layout.page_bytes()));
}

void LatentPageTable::add(LatentPage page) {
  places_.push_back(static_cast<std::byte*>(page.get()));
  pages_.push_back(std::move(page));
}

void LatentPageTable::shrink(std::size_t count) {
  if (count >= pages_.size()) return;
  pages_.resize(count);
  places_.resize(count);
}

void LatentPageTable::reserve(std::int64_t positions) {
  require(grows_ || positions <= capacity(), "the latent cache has pages for {} positions and {} are needed",
          capacity(), positions);
  while (capacity() < positions) add(allocate_page(layout_));
}

kernels::LatentRows LatentPageTable::rows(std::int64_t layer) const {
  return {layout_.row, places_.data(), layer * layout_.positions * layout_.row.row_bytes(),
          layout_.positions};
}

void LatentCacheLayer::append(ThreadPool& pool, const float* values, std::int64_t count) {
  kernels::store_latent_rows(pool, rows(), length, count, values);
  length += count;
}

LatentCache::LatentCache(const LatentPageLayout& layout, std::int64_t capacity_, bool grows)
    : capacity(capacity_), table_(std::make_unique<LatentPageTable>(layout, grows)) {
  for (std::int64_t i = 0; i < layout.layers; ++i) layers.push_back({table_.get(), i, capacity, 0});
}

LatentCache::LatentCache(const ModelConfig& config, std::int64_t capacity_, LatentType type,
                         std::int64_t layer_count)
    : LatentCache(LatentPageLayout(config, type, kPagePositions, layer_count), capacity_, true) {}

LatentCache::LatentCache(const LatentPageLayout& layout, std::int64_t capacity_)
    : LatentCache(layout, capacity_, false) {}

void LatentCache::set_length(std::int64_t length) {
  for (LatentCacheLayer& layer : layers) layer.length = length;
}

void LatentCache::truncate(std::int64_t length) {
  for (LatentCacheLayer& layer : layers) layer.length = std::min(layer.length, length);
}

}  // namespace fathom
