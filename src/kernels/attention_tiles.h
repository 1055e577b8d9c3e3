#pragma once

// What attention.cpp and latent_attention.cpp share that does not depend on the instruction set. For them
// only.

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

#include "kernels/attention.h"
#include "kernels/latent_attention.h"

namespace fathom::kernels {

// Sizes of tiles. A strip of scores lies in the first-level cache, the tiles of keys, values and queries in
// the second.
inline constexpr std::int64_t kKeyBlock = 128;
inline constexpr std::int64_t kQueryStrip = 32;  // rows of one tile of scores
inline constexpr std::int64_t kQueryBlock =
    256;                                  // queries that share a key block's layout in the forward pass
inline constexpr std::int64_t kPad = 16;  // lanes of the widest vector: rows of tiles are multiples of it

constexpr std::int64_t padded(std::int64_t size) {
  return (size + kPad - 1) / kPad * kPad;
}

/// Hands out pieces of one block of memory, each 64-byte aligned; `count` is the sum of the pieces, padded.
class Arena {
 public:
  explicit Arena(std::int64_t count)
      : memory_(hwy::AllocateAligned<float>(static_cast<std::size_t>(count))), left_(count) {
    if (!memory_) throw std::bad_alloc();
  }
  float* take(std::int64_t count) {
    left_ -= padded(count);
    return memory_.get() + left_;
  }

 private:
  hwy::AlignedFreeUniquePtr<float[]> memory_;
  std::int64_t left_;
};

/// One head of a span.
struct Job {
  const AttentionShape& shape;
  const AttentionInputs& in;
  const AttentionSpan& span;
  std::int64_t head;

  [[nodiscard]] std::int64_t qk_dim() const { return shape.nope_dim + shape.rope_dim; }
  /// Keys that a query of the span sees.
  [[nodiscard]] std::int64_t seen_by(std::int64_t query) const {
    return span.is_causal ? span.keys - span.queries + query + 1 : span.keys;
  }
};

inline constexpr std::int64_t kLatentKeyBlock = 64;  // cache rows that stay near between their two uses

/// The work of `latent_attention`.
struct LatentJob {
  const LatentAttentionShape& shape;
  const LatentRows& cache;
  std::int64_t group;  // tokens whose queries go together

  [[nodiscard]] std::int64_t width() const { return shape.latent_dim + shape.rope_dim; }
  /// Query rows of a group, padded.
  [[nodiscard]] std::int64_t rows() const { return padded(group * shape.heads); }
};

/// What a group of query rows found in one run of the cache: a softmax not yet divided by its denominator.
struct LatentPartial {
  float* values;   // [rows, latent_dim padded]
  float* maximum;  // [rows]
  float* sum;      // [rows]
};

/// Rows of `dim` values, to rows of `stride` with zeros behind.
inline void copy_rows(const float* from, std::int64_t from_stride, std::int64_t rows, std::int64_t dim,
                      float* to, std::int64_t stride) {
  for (std::int64_t r = 0; r < rows; ++r) {
    std::copy_n(from + r * from_stride, dim, to + r * stride);
    std::fill(to + r * stride + dim, to + (r + 1) * stride, 0.0F);
  }
}

}  // namespace fathom::kernels
