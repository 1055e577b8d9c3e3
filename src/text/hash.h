#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace fathom {

// Hashes of short strings and of pairs, for the tables of this layer. Never stored: free to change.

/// Multiplies to 128 bits and folds the halves together: every input bit reaches every output bit.
inline std::uint64_t mix_hash(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t hash_word(std::uint64_t value) {
  return mix_hash(value ^ 0x9E3779B97F4A7C15ULL, 0xD1B54A32D192ED03ULL);
}

inline std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t hash = 0x8EBC6AF09C88C6E3ULL ^ bytes.size();
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    hash = mix_hash(hash ^ word, 0x589965CC75374CC3ULL);
  }
  std::uint64_t tail = 0;
  if (left > 0) std::memcpy(&tail, at, left);
  return mix_hash(hash ^ tail, 0x1D8E4E27C47D124FULL);
}

/// The smallest power of two that keeps a table of `count` entries at most half full.
inline std::size_t table_size_for(std::size_t count) {
  std::size_t size = 16;
  while (size < count * 2) size *= 2;
  return size;
}

}  // namespace fathom
