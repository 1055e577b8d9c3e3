#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "infer/cache_file.h"
#include "model/latent_cache.h"

namespace fathom {

/// A text that a generator goes on from, with the latents of its first tokens.
struct Conversation {
  LatentCache cache;
  std::vector<std::int32_t> tokens;

  /// Becomes a conversation of `prompt`, of whose beginning the cache keeps what it has: all but the last
  /// token at most, which is to be read.
  /// @return  the number of tokens kept
  std::int64_t keep_beginning_of(std::span<const std::int32_t> prompt);
};

/// Writes it to a file, in the format of `write_cache_file`.
void save_conversation(const std::filesystem::path& path, std::uint64_t fingerprint,
                       const Conversation& conversation);

/// Reads it into an empty one, whose cache must be of the same type. Throws `Error` where it does not fit,
/// and as `read_cache_file`.
void load_conversation(const std::filesystem::path& path, std::uint64_t fingerprint,
                       Conversation& conversation);

}  // namespace fathom
