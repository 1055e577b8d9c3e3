#pragma once

#include <algorithm>
#include <cstdint>

namespace fathom::kernels {

/// How a product [m, k] · [k, n] is cut into tiles of C that threads share: by m, n and k alone.
struct GemmTiles {
  std::int64_t rows;     // of a tile
  std::int64_t columns;  // of a tile
  std::int64_t down;     // tiles from top to bottom
  std::int64_t across;   // tiles from left to right

  [[nodiscard]] std::int64_t count() const { return down * across; }
};

/// Every tile packs its own operands, so tiles are as large as still leaves some for many threads, and no
/// smaller than pays for handing them over.
inline GemmTiles gemm_tiles(std::int64_t m, std::int64_t n, std::int64_t k) {
  constexpr std::int64_t kLargest = 512;
  constexpr std::int64_t kSmallest = 64;
  constexpr std::int64_t kWanted = 16;                        // tiles
  constexpr std::int64_t kLeastWork = std::int64_t{1} << 21;  // multiply-adds of a tile: some 40 microseconds
  const auto pieces = [](std::int64_t size, std::int64_t piece) { return (size + piece - 1) / piece; };
  std::int64_t rows = std::clamp<std::int64_t>(m, 1, kLargest);
  std::int64_t columns = std::clamp<std::int64_t>(n, 1, kLargest);
  while (pieces(m, rows) * pieces(n, columns) < kWanted && rows * columns * k > 2 * kLeastWork &&
         std::max(rows, columns) > kSmallest) {
    // Halve the longer side, to whole registers of the inner kernel.
    std::int64_t& side = rows >= columns ? rows : columns;
    side = (side / 2 + 15) / 16 * 16;
  }
  return {rows, columns, pieces(m, rows), pieces(n, columns)};
}

}  // namespace fathom::kernels
