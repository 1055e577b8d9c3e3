#include "infer/prefix_tiers.h"

#include <utility>

namespace fathom {

PrefixTiers::PrefixTiers(std::uint64_t memory_bytes, std::unique_ptr<PrefixStore> folder)
    : folder_(std::move(folder)), memory_(memory_bytes) {}

bool PrefixTiers::has(std::span<const std::int32_t> tokens) const {
  {
    const std::scoped_lock lock(mutex_);
    if (memory_.has(tokens)) return true;
  }
  return folder_ != nullptr && folder_->has(tokens);
}

std::optional<std::vector<std::byte>> PrefixTiers::load(std::span<const std::int32_t> tokens) {
  {
    const std::scoped_lock lock(mutex_);
    if (const std::vector<std::byte>* page = memory_.find(tokens); page != nullptr) {
      ++loaded_from_memory_;
      return *page;
    }
  }
  if (folder_ == nullptr) return std::nullopt;
  std::optional<std::vector<std::byte>> page = folder_->load(tokens);
  if (!page) return std::nullopt;
  save(tokens, *page);
  const std::scoped_lock lock(mutex_);
  ++loaded_from_folder_;
  return page;
}

void PrefixTiers::save(std::span<const std::int32_t> tokens, std::vector<std::byte> page) {
  std::vector<PrefixMemory::Page> gone;
  {
    const std::scoped_lock lock(mutex_);
    gone = memory_.put({{tokens.begin(), tokens.end()}, std::move(page)});
  }
  write(gone);
}

void PrefixTiers::move_to_folder() {
  if (folder_ == nullptr) return;
  std::vector<PrefixMemory::Page> all;
  {
    const std::scoped_lock lock(mutex_);
    all = memory_.take_all();
  }
  write(all);
}

void PrefixTiers::write(std::span<const PrefixMemory::Page> pages) {
  if (folder_ == nullptr) return;
  for (const PrefixMemory::Page& page : pages)
    if (!folder_->has(page.tokens)) folder_->save(page.tokens, page.bytes);
}

PrefixTiers::Stats PrefixTiers::stats() const {
  const std::scoped_lock lock(mutex_);
  return {memory_.bytes(), memory_.pages(), loaded_from_memory_,
          folder_ != nullptr ? folder_->bytes() : std::uint64_t{0}, loaded_from_folder_};
}

}  // namespace fathom
