#pragma once

#include <array>
#include <cstdint>

namespace fathom {

/// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). The n-th number of a (seed, stream)
/// is a pure function of n, so streams never overlap, any tensor can be filled in parallel, and the state
/// that a checkpoint keeps is three integers.
class Rng {
 public:
  struct State {
    std::uint64_t seed = 0;
    std::uint64_t stream = 0;
    std::uint64_t position = 0;  // 32-bit numbers drawn so far
    bool operator==(const State&) const = default;
  };

  explicit Rng(std::uint64_t seed, std::uint64_t stream = 0) : state_{seed, stream, 0} {}
  explicit Rng(const State& state) : state_(state) {}

  std::uint32_t next_u32();
  std::uint64_t next_u64();
  /// Uniform in [0, 1), 53 bits.
  double uniform();
  /// Uniform in [0, bound), without bias; bound > 0.
  std::uint64_t below(std::uint64_t bound);
  /// Standard normal (Box-Muller, the cosine half: two draws of `uniform` each).
  double normal();

  [[nodiscard]] const State& state() const { return state_; }

 private:
  State state_;
  std::array<std::uint32_t, 4> block_{};    // the four numbers around `position`
  std::uint64_t block_index_ = UINT64_MAX;  // which block `block_` holds
};

/// One Philox block: four 32-bit numbers for (seed, stream, index).
std::array<std::uint32_t, 4> philox_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t index);

}  // namespace fathom
