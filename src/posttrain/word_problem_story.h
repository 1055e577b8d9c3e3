#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

namespace fathom {

/// A word problem in the making.
struct Story {
  std::vector<std::string> sentences;  // of the facts, in order
  std::string question;
  std::vector<std::string> steps;  // of the solution, a calculation each
  std::string canonical;           // kinds of facts and their numbers
  std::int64_t answer = 0;
};

inline constexpr std::array<std::string_view, 6> kStoryKinds = {"collection", "shopping", "trip",
                                                                "ages",       "factory",  "sharing"};

/// A story of one of those kinds, that takes exactly so many calculations.
/// @param steps    2 to 6
/// @param largest  number that a fact gives, from 9 on
Story tell_story(Rng& rng, std::string_view kind, std::int64_t steps, std::int64_t largest);

/// A sentence with a number that matters to no story.
std::string irrelevant_fact(Rng& rng);

}  // namespace fathom
