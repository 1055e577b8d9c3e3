#include "train/retrieval_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

// Short lists, so that even a tiny model soon knows the words and is left with the task itself.
constexpr std::array<std::string_view, 16> kCities = {
    "Berlin", "Cairo",  "Delhi", "Dublin", "Havana", "Lima",  "Lisbon", "Madrid",
    "Oslo",   "Prague", "Quito", "Rome",   "Seoul",  "Tokyo", "Vienna", "Warsaw"};
constexpr std::array<std::string_view, 16> kAdjectives = {
    "amber",  "brave",  "bronze", "calm",  "clever", "copper", "dusty", "eager",
    "frozen", "gentle", "golden", "happy", "hidden", "lonely", "quiet", "silver"};
constexpr std::array<std::string_view, 16> kNouns = {
    "anchor",  "apple", "basket", "bell",    "bottle",  "candle", "castle", "clock",
    "compass", "crown", "dragon", "feather", "lantern", "mirror", "needle", "piano"};
constexpr std::array<std::string_view, 4> kPeople = {"baker", "doctor", "farmer", "sailor"};
constexpr std::array<std::string_view, 4> kDeeds = {"carried", "cleaned", "found", "moved"};
constexpr std::array<std::string_view, 4> kThings = {"boat", "cart", "map", "rope"};
constexpr std::array<std::string_view, 4> kPlaces = {"barn", "church", "lake", "school"};
constexpr std::array<std::string_view, 3> kTimes = {"at noon", "in the evening", "on Sunday"};

template <std::size_t kCount>
std::string_view one_of(Rng& rng, const std::array<std::string_view, kCount>& list) {
  return list[rng.below(kCount)];
}

/// The first letter in upper case, and a space before.
std::string as_sentence(std::string text) {
  if (text.front() >= 'a' && text.front() <= 'z') text.front() = static_cast<char>(text.front() - 'a' + 'A');
  return " " + text + ".";
}

}  // namespace

std::string Fact::statement() const {
  return fmt::format(" The password of {} is {}.", key, value);
}

std::string Fact::question() const {
  return fmt::format(" Again, the password of {} is", key);
}

std::vector<std::string_view> fact_keys() {
  return {kCities.begin(), kCities.end()};
}

std::vector<Fact> random_facts(Rng& rng, std::size_t count,
                               const std::function<bool(std::string_view key)>& allowed) {
  std::vector<std::string_view> keys = fact_keys();
  if (allowed) std::erase_if(keys, [&](std::string_view key) { return !allowed(key); });
  require(count <= keys.size(), "{} facts asked for, there are {} cities to make them about", count,
          keys.size());
  std::vector<Fact> facts;
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(keys[i], keys[i + rng.below(keys.size() - i)]);
    const std::string_view adjective = one_of(rng, kAdjectives);
    facts.push_back({std::string(keys[i]), fmt::format("{} {}", adjective, one_of(rng, kNouns))});
  }
  return facts;
}

std::string filler_sentence(Rng& rng) {
  const std::string_view person = one_of(rng, kPeople);
  const std::string_view deed = one_of(rng, kDeeds);
  const std::string_view thing = one_of(rng, kThings);
  const std::string_view place = one_of(rng, kPlaces);
  const std::string clause = fmt::format("the {} {} the {} near the {}", person, deed, thing, place);
  const std::string_view time = one_of(rng, kTimes);
  switch (rng.below(3)) {
    case 0:
      return as_sentence(fmt::format("{} {}", time, clause));
    case 1:
      return as_sentence(fmt::format("{} {}", clause, time));
    default:
      return as_sentence(clause);
  }
}

std::string retrieval_document(Rng& rng, std::int64_t sentences, double filler) {
  require(sentences >= 2, "a document of {} sentences has no room for a fact and its question", sentences);
  const auto count = static_cast<std::size_t>(sentences);
  const auto told = static_cast<std::size_t>((1 - filler) * static_cast<double>(count));
  const std::size_t stated = std::clamp<std::size_t>(told / 3, 1, kCities.size());
  const std::size_t asked = std::max<std::size_t>(1, told - std::min(told, stated));
  const std::vector<Fact> facts = random_facts(rng, stated);

  // Sentences in the order of random places; a question's place lies behind its fact's.
  std::vector<std::pair<double, std::string>> text;
  std::vector<double> places;
  for (const Fact& fact : facts) {
    places.push_back(0.7 * rng.uniform());
    text.emplace_back(places.back(), fact.statement());
  }
  for (std::size_t i = 0; i < asked; ++i) {
    const std::size_t which = rng.below(facts.size());
    const double place = places[which] + (1 - places[which]) * rng.uniform();
    text.emplace_back(place, facts[which].question() + facts[which].answer() + ".");
  }
  while (text.size() < count) {
    const double place = rng.uniform();
    text.emplace_back(place, filler_sentence(rng));
  }
  std::ranges::stable_sort(text, {}, &std::pair<double, std::string>::first);
  std::string document;
  for (const auto& [place, sentence] : text) document += sentence;
  return document.substr(1);
}

}  // namespace fathom
