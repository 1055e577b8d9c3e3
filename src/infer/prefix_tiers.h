#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "infer/prefix_memory.h"
#include "infer/prefix_store.h"

namespace fathom {

/// Where prefixes go that the latent caches have no room for: first into memory beside them, and what that
/// has no room for into a folder, which outlives the process. A page that comes back from the folder is kept
/// in memory, too. Safe to use from several threads.
class PrefixTiers {
 public:
  /// @param memory_bytes  for pages in memory; 0: none
  /// @param folder        null: what leaves memory is gone
  PrefixTiers(std::uint64_t memory_bytes, std::unique_ptr<PrefixStore> folder);

  [[nodiscard]] bool has(std::span<const std::int32_t> tokens) const;
  /// The content of the page that ends these tokens; none where it is not there.
  std::optional<std::vector<std::byte>> load(std::span<const std::int32_t> tokens);
  /// Keeps the page that ends these tokens.
  void save(std::span<const std::int32_t> tokens, std::vector<std::byte> page);

  /// Whether anything outlives the process.
  [[nodiscard]] bool has_folder() const { return folder_ != nullptr; }
  /// Has all that is in memory outlive it, if anything can; memory is empty then.
  void move_to_folder();

  struct Stats {
    std::uint64_t memory_bytes = 0;
    std::int64_t memory_pages = 0;
    std::int64_t loaded_from_memory = 0;  // pages, so far
    std::uint64_t folder_bytes = 0;
    std::int64_t loaded_from_folder = 0;
  };
  [[nodiscard]] Stats stats() const;

 private:
  void write(std::span<const PrefixMemory::Page> pages);

  std::unique_ptr<PrefixStore> folder_;
  mutable std::mutex mutex_;
  // Guarded by it.
  PrefixMemory memory_;
  std::int64_t loaded_from_memory_ = 0;
  std::int64_t loaded_from_folder_ = 0;
};

}  // namespace fathom
