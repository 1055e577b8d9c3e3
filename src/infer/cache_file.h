#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "model/latent_cache.h"

namespace fathom {

/// What a file of cached latents must fit: the model that made them, and how they are stored.
struct CacheFileKey {
  std::uint64_t fingerprint = 0;  // see model/fingerprint.h
  kernels::LatentLayout row;
  std::int64_t layers = 0;

  [[nodiscard]] std::int64_t position_bytes() const { return layers * row.row_bytes(); }
};

/// Which rows of a text there are, with all of its tokens before them: latents depend on what came before.
struct CachedRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
struct CachedText {
  std::vector<std::int32_t> tokens;
  CachedRange range;
  std::vector<std::byte> rows;  // [layers, range, row_bytes]
};

/// Writes it under a new name that becomes its own when all is there. Layout of the file, little-endian: the
/// header of cache_file.cpp, the tokens, the rows, and XXH64 of all that.
void write_cache_file(const std::filesystem::path& path, const CacheFileKey& key,
                      std::span<const std::int32_t> tokens, CachedRange range,
                      std::span<const std::byte> rows);

/// Throws `Error` saying which: the file is no such file, is damaged, or is of another model or cache type.
/// No more memory is taken than the file has bytes.
CachedText read_cache_file(const std::filesystem::path& path, const CacheFileKey& key);

}  // namespace fathom
