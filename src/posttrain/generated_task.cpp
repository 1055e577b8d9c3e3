#include "posttrain/generated_task.h"

#include "base/error.h"

namespace fathom {

std::int64_t random_between(Rng& rng, std::int64_t least, std::int64_t most) {
  return least + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(most - least) + 1));
}

Problem GeneratedTask::make_problem(Split split, std::uint64_t seed, std::int64_t index) const {
  // One in ten is for tests: 2,000 tries miss it with probability 1e-91, unless there are hardly any
  // problems.
  constexpr int kTries = 2000;
  Rng rng(seed, static_cast<std::uint64_t>(index));
  for (int i = 0; i < kTries; ++i) {
    Problem problem = generate(rng);
    if (split_of_problem(problem.canonical) == split) return problem;
  }
  fail("task {}: of {} problems none is for {}: these options leave too few different ones", name(), kTries,
       split_name(split));
}

const std::vector<std::string>& common_words() {
  static const std::vector<std::string> kWords = {
      "acorn",   "anchor",  "apple",   "arrow",    "badge",   "baker",    "banana",  "basket",  "beach",
      "bell",    "berry",   "bird",    "boat",     "book",    "bottle",   "branch",  "bread",   "bridge",
      "brush",   "bucket",  "butter",  "button",   "cabin",   "camel",    "candle",  "canyon",  "carpet",
      "castle",  "chair",   "cheese",  "cherry",   "circle",  "cloud",    "clover",  "coast",   "coffee",
      "copper",  "corner",  "cotton",  "cradle",   "crane",   "crown",    "curtain", "daisy",   "desert",
      "dinner",  "doctor",  "dragon",  "drawer",   "eagle",   "earth",    "engine",  "fabric",  "feather",
      "fence",   "field",   "finger",  "flame",    "flower",  "forest",   "fossil",  "fruit",   "garden",
      "garlic",  "ginger",  "glacier", "glass",    "grape",   "guitar",   "hammer",  "harbor",  "harvest",
      "hedge",   "helmet",  "honey",   "horizon",  "horse",   "house",    "insect",  "island",  "ivory",
      "jacket",  "jewel",   "jungle",  "kettle",   "kitchen", "kitten",   "ladder",  "lantern", "lemon",
      "letter",  "library", "lilac",   "lizard",   "magnet",  "maple",    "marble",  "market",  "meadow",
      "melon",   "mirror",  "monkey",  "mountain", "museum",  "needle",   "nickel",  "noodle",  "ocean",
      "olive",   "onion",   "orange",  "orchard",  "otter",   "oyster",   "paddle",  "palace",  "panda",
      "paper",   "parrot",  "pebble",  "pencil",   "pepper",  "piano",    "picture", "pigeon",  "pillow",
      "planet",  "pocket",  "potato",  "prairie",  "puzzle",  "rabbit",   "raven",   "ribbon",  "river",
      "robin",   "rocket",  "saddle",  "salmon",   "sandal",  "school",   "shadow",  "shell",   "silver",
      "sparrow", "spider",  "spoon",   "spring",   "square",  "squirrel", "stable",  "station", "stone",
      "stream",  "sugar",   "summer",  "sunset",   "table",   "temple",   "thread",  "thunder", "ticket",
      "tiger",   "timber",  "tomato",  "tower",    "trumpet", "tulip",    "tunnel",  "turtle",  "valley",
      "velvet",  "village", "violin",  "walnut",   "water",   "whale",    "wheel",   "willow",  "window",
      "winter",  "wizard",  "wolf",    "wood",     "yogurt",  "zebra"};
  return kWords;
}

}  // namespace fathom
