#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace fathom {

/// XXH64 (specification version 0.1.1, seed 0) of a stream of bytes: finds damage, does not resist forgery.
/// The value depends on the bytes alone, not on how they were cut into calls.
class Checksum {
 public:
  void update(std::span<const std::byte> bytes);
  [[nodiscard]] std::uint64_t value() const;

 private:
  static constexpr std::size_t kStripe = 32;

  std::array<std::uint64_t, 4> lanes_ = initial_lanes();
  std::array<std::byte, kStripe> pending_{};  // bytes that do not fill a stripe yet
  std::size_t pending_size_ = 0;
  std::uint64_t total_ = 0;

  static std::array<std::uint64_t, 4> initial_lanes();
  void consume(const std::byte* stripe);
};

/// The checksum of one piece of memory.
std::uint64_t checksum(std::span<const std::byte> bytes);
std::uint64_t checksum(std::string_view text);

}  // namespace fathom
