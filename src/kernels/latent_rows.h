#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// How the rows of a latent cache are stored. The narrow ones keep the rotated key in BF16, as it takes a
/// ninth of a row and its error enters the scores unscaled; f8_e4m3 is then the layout of 656 bytes that
/// FlashMLA has.
enum class LatentType : std::uint8_t {
  f32,
  f16,  ///< saturated at ±65,504
  bf16,
  f8_e4m3,  ///< one scale (f32) for each 128 values of the latent
  q8,       ///< whole numbers of -127 to 127, one scale (f32) for each 64 values of the latent
};

inline constexpr LatentType kLatentTypes[] = {LatentType::f32, LatentType::f16, LatentType::bf16,
                                              LatentType::f8_e4m3, LatentType::q8};

/// "f32", "f16", "bf16", "f8_e4m3", "q8".
std::string_view latent_type_name(LatentType type);
/// The inverse of `latent_type_name`.
std::optional<LatentType> latent_type_from_name(std::string_view name);

/// A row: the normalised latent, then the rotated key.
struct LatentLayout {
  LatentType type = LatentType::f32;
  std::int64_t latent_dim = 0;  // kv_lora_rank
  std::int64_t rope_dim = 0;    // qk_rope_head_dim

  bool operator==(const LatentLayout&) const = default;
  [[nodiscard]] std::int64_t width() const { return latent_dim + rope_dim; }
  /// Values of the latent that share a scale; 0 where there are none.
  [[nodiscard]] std::int64_t scale_tile() const;
  /// Scales of a row, which come first in it; then the key, and the latent's codes.
  [[nodiscard]] std::int64_t scales() const;
  /// A multiple of 4.
  [[nodiscard]] std::int64_t row_bytes() const;
};

/// The rows of one sequence in one layer. They lie in pages, each of which may be anywhere.
struct LatentRows {
  LatentLayout layout;
  std::byte* const* pages = nullptr;
  std::int64_t offset = 0;  // bytes from where a page begins to this layer's first row in it
  std::int64_t page_positions = 0;

  [[nodiscard]] std::byte* row(std::int64_t position) const {
    return pages[position / page_positions] + offset + position % page_positions * layout.row_bytes();
  }
};

/// Stores `count` rows from `position` on. A part of a row that shares a scale and holds a NaN or an infinity
/// becomes NaN.
/// @param values  [count, latent_dim + rope_dim]
void store_latent_rows(ThreadPool& pool, const LatentRows& to, std::int64_t position, std::int64_t count,
                       const float* values);

enum class LatentPart : std::uint8_t { latent, key };

/// Widens a part of rows [begin, end).
/// @param out  [end - begin, latent_dim or rope_dim]
void load_latent_rows(ThreadPool& pool, const LatentRows& from, std::int64_t begin, std::int64_t end,
                      LatentPart part, float* out);

}  // namespace fathom::kernels
