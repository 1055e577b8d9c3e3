#pragma once

#include <cstdint>
#include <vector>

namespace fathom {

/// What speculation did for an answer, or for several.
struct SpeculationStats {
  struct Place {
    std::int64_t offered = 0;  // drafts of which all before them were accepted
    std::int64_t accepted = 0;
  };
  std::int64_t passes = 0;    // of the model, behind the prompt's
  std::int64_t drafted = 0;   // tokens
  std::int64_t checked = 0;   // of these, that a pass read
  std::int64_t accepted = 0;  // of these
  std::vector<Place> places;  // first drafts, second ones, ...

  /// Tokens of the answer that a pass gave on average.
  [[nodiscard]] double tokens_per_pass() const {
    return passes > 0 ? static_cast<double>(passes + accepted) / static_cast<double>(passes) : 0.0;
  }
  /// Of one more pass.
  void count(std::int64_t drafted_here, std::int64_t checked_here, std::int64_t accepted_here);
  void add(const SpeculationStats& more);
};

}  // namespace fathom
