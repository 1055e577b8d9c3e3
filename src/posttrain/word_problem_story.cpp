#include "posttrain/word_problem_story.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "posttrain/generated_task.h"

namespace fathom {
namespace {

constexpr std::array<std::string_view, 16> kPeople = {"Anna",  "Ben",  "Clara", "David", "Emma",  "Farid",
                                                      "Grace", "Hugo", "Ines",  "Jonas", "Kenji", "Lena",
                                                      "Maya",  "Noah", "Olga",  "Pedro"};
constexpr std::array<std::string_view, 12> kThings = {"marbles", "stickers", "stamps", "coins",
                                                      "shells",  "cards",    "books",  "beads",
                                                      "pencils", "buttons",  "apples", "flowers"};

/// So many different people.
std::vector<std::string_view> some_people(Rng& rng, std::size_t count) {
  std::vector<std::string_view> people(kPeople.begin(), kPeople.end());
  shuffle_items(rng, people);
  people.resize(count);
  return people;
}

/// Notes a calculation and gives its result.
std::int64_t calculate(Story& story, std::int64_t a, char sign, std::int64_t b) {
  const std::int64_t result = sign == '+' ? a + b : sign == '-' ? a - b : sign == '*' ? a * b : a / b;
  story.steps.push_back(fmt::format("{} {} {} = {}", a, sign, b, result));
  return result;
}

template <typename... Numbers>
void note_fact(Story& story, std::string sentence, std::string_view kind, Numbers... numbers) {
  story.sentences.push_back(std::move(sentence));
  story.canonical += fmt::format(" {}", kind);
  ((story.canonical += fmt::format(",{}", numbers)), ...);
}

/// Things that somebody gets and gives away.
Story tell_collection(Rng& rng, std::int64_t steps, std::int64_t largest) {
  Story story;
  const auto people = some_people(rng, 4);
  const std::string_view who = people[0];
  const std::string_view things = random_item(rng, kThings);
  std::int64_t has = random_between(rng, 5, largest);
  note_fact(story, fmt::format("{} has {} {}.", who, has, things), "has", has);
  for (std::int64_t left = steps; left > 0; --left) {
    const std::int64_t amount = random_between(rng, 2, largest);
    switch (rng.below(5)) {
      case 0:
        note_fact(story, fmt::format("Then {} buys {} more {}.", who, amount, things), "buys", amount);
        has = calculate(story, has, '+', amount);
        break;
      case 1:
        if (left >= 2) {
          const std::int64_t boxes = random_between(rng, 2, 9);
          note_fact(
              story,
              fmt::format("{} gives {} {} boxes with {} {} in each.", people[1], who, boxes, amount, things),
              "boxes", boxes, amount);
          has = calculate(story, has, '+', calculate(story, boxes, '*', amount));
          --left;
          break;
        }
        [[fallthrough]];
      case 2:
        if (has > 2) {
          const std::int64_t given = random_between(rng, 2, std::min(has - 1, largest));
          note_fact(story, fmt::format("{} gives {} {} to {}.", who, given, things, people[2]), "gives",
                    given);
          has = calculate(story, has, '-', given);
          break;
        }
        [[fallthrough]];
      case 3:
        if (has % 2 == 0 && has > 2) {
          note_fact(story, fmt::format("{} loses half of the {}.", who, things), "half");
          has = calculate(story, has, '/', 2);
          break;
        }
        [[fallthrough]];
      default:
        note_fact(story,
                  fmt::format("{} wins a game against {}, and so gets twice as many {} as before.", who,
                              people[3], things),
                  "double");
        has = calculate(story, has, '*', 2);
    }
  }
  story.question = fmt::format("How many {} does {} have now?", things, who);
  story.answer = has;
  return story;
}

/// What `tell_sum_of_products` tells of.
struct SumOfProducts {
  std::string_view kind;
  /// Facts about several of something, about one amount, and about the whole, with their numbers.
  std::string (*several)(Rng&, std::string_view who, std::int64_t count, std::int64_t each);
  std::string (*single)(Rng&, std::string_view who, std::int64_t amount);
  std::string (*whole)(std::string_view who, std::int64_t total);
  std::string (*question)(std::string_view who);
};

/// Amounts, some of which are products, are added up and taken from a whole: a calculation for each product,
/// each sum and the difference.
Story tell_sum_of_products(Rng& rng, std::int64_t steps, std::int64_t largest, const SumOfProducts& words) {
  Story story;
  const std::string_view who = random_item(rng, kPeople);
  const std::int64_t most_singles = steps - 2;  // one product at least
  const std::int64_t singles = steps % 2 + 2 * random_between(rng, 0, (most_singles - steps % 2) / 2);
  const std::int64_t products = (steps - singles) / 2;
  std::vector<std::pair<std::int64_t, std::int64_t>> amounts;  // how many, and each; of a single one: 0
  for (std::int64_t i = 0; i < products; ++i)
    amounts.emplace_back(random_between(rng, 2, 9), random_between(rng, 2, largest));
  for (std::int64_t i = 0; i < singles; ++i) amounts.emplace_back(0, random_between(rng, 2, largest));
  shuffle_items(rng, amounts);
  std::int64_t sum = 0;
  for (const auto& [count, each] : amounts) sum += count == 0 ? each : count * each;
  const std::int64_t whole = sum + random_between(rng, 1, largest);
  note_fact(story, words.whole(who, whole), "whole", whole);
  for (const auto& [count, each] : amounts) {
    if (count == 0) {
      note_fact(story, words.single(rng, who, each), "one", each);
    } else {
      note_fact(story, words.several(rng, who, count, each), "several", count, each);
    }
  }
  std::vector<std::int64_t> parts;
  parts.reserve(amounts.size());
  for (const auto& [count, each] : amounts)
    parts.push_back(count == 0 ? each : calculate(story, count, '*', each));
  std::int64_t total = parts.front();
  for (std::size_t i = 1; i < parts.size(); ++i) total = calculate(story, total, '+', parts[i]);
  story.answer = calculate(story, whole, '-', total);
  story.question = words.question(who);
  return story;
}

const SumOfProducts kShopping = {
    "shopping",
    [](Rng& rng, std::string_view who, std::int64_t count, std::int64_t each) {
      return fmt::format("{} buys {} {} for ${} each.", who, count, random_item(rng, kThings), each);
    },
    [](Rng& rng, std::string_view who, std::int64_t amount) {
      static constexpr std::array<std::string_view, 6> kDear = {"a coat",  "a lamp",  "a bag",
                                                                "a clock", "a chair", "a kettle"};
      return fmt::format("{} pays ${} for {}.", who, amount, random_item(rng, kDear));
    },
    [](std::string_view who, std::int64_t total) {
      return fmt::format("{} goes shopping with ${}.", who, total);
    },
    [](std::string_view who) { return fmt::format("How many dollars does {} have left?", who); }};

const SumOfProducts kTrip = {
    "trip",
    [](Rng& rng, std::string_view who, std::int64_t count, std::int64_t each) {
      static constexpr std::array<std::string_view, 4> kMoves = {"cycles", "drives", "travels by train",
                                                                 "goes by boat"};
      return fmt::format("{} {} for {} hours at {} kilometers per hour.", who, random_item(rng, kMoves),
                         count, each);
    },
    [](Rng& rng, std::string_view who, std::int64_t amount) {
      static constexpr std::array<std::string_view, 3> kMoves = {"walks", "rides a bus for",
                                                                 "rides a horse for"};
      return fmt::format("{} {} {} kilometers.", who, random_item(rng, kMoves), amount);
    },
    [](std::string_view who, std::int64_t total) {
      return fmt::format("{} wants to travel to a town that is {} kilometers away.", who, total);
    },
    [](std::string_view who) { return fmt::format("How many kilometers are left for {}?", who); }};

/// Ages that follow from one another.
Story tell_ages(Rng& rng, std::int64_t steps, std::int64_t largest) {
  constexpr std::int64_t kOldest = 60;  // before it is told of as a multiple
  Story story;
  const auto people = some_people(rng, static_cast<std::size_t>(steps) + 1);
  const std::int64_t youngest = random_between(rng, 3, std::min<std::int64_t>(largest, 12));
  note_fact(story, fmt::format("{} is {} years old.", people[0], youngest), "age", youngest);
  std::int64_t age = youngest;
  for (std::size_t i = 1; i < people.size(); ++i) {
    const std::int64_t years = random_between(rng, 2, 9);
    const auto kind = rng.below(3);
    if (kind == 0 && age * 3 <= kOldest) {
      const std::int64_t times = random_between(rng, 2, 3);
      note_fact(story,
                fmt::format("{} is {} as old as {}.", people[i], times == 2 ? "twice" : "three times",
                            people[i - 1]),
                "times", times);
      age = calculate(story, age, '*', times);
    } else if (kind == 1 && age - years >= 2) {
      note_fact(story, fmt::format("{} is {} years younger than {}.", people[i], years, people[i - 1]),
                "younger", years);
      age = calculate(story, age, '-', years);
    } else {
      note_fact(story, fmt::format("{} is {} years older than {}.", people[i], years, people[i - 1]), "older",
                years);
      age = calculate(story, age, '+', years);
    }
  }
  story.question = fmt::format("How old is {}?", people.back());
  story.answer = age;
  return story;
}

/// What machines make, and what becomes of it: the first `steps` of six calculations, each on the one before.
Story tell_factory(Rng& rng, std::int64_t steps, std::int64_t largest) {
  Story story;
  const std::string_view things = random_item(rng, kThings);
  const std::int64_t machines = random_between(rng, 2, 9);
  const std::int64_t rate = random_between(rng, 5, largest);
  const std::int64_t hours = random_between(rng, 2, 9);
  note_fact(
      story,
      fmt::format("A factory has {} machines, each of which makes {} {} in an hour.", machines, rate, things),
      "rate", machines, rate);
  note_fact(story, fmt::format("It works for {} hours a day.", hours), "hours", hours);
  std::int64_t made = calculate(story, calculate(story, machines, '*', rate), '*', hours);
  story.question = fmt::format("How many {} does it make in a day?", things);
  const std::int64_t box = random_between(rng, 2, 9);
  const std::int64_t boxes = random_between(rng, made / box / 2 + 1, (made - 1) / box);
  if (steps >= 3) {
    const std::int64_t broken = made - boxes * box;
    note_fact(story, fmt::format("Each day {} of the {} are damaged and thrown away.", broken, things),
              "broken", broken);
    made = calculate(story, made, '-', broken);
    story.question = fmt::format("How many good {} does it make in a day?", things);
  }
  if (steps >= 4) {
    note_fact(story, fmt::format("The good ones are packed in boxes of {}.", box), "box", box);
    made = calculate(story, made, '/', box);
    story.question = "How many boxes does it fill in a day?";
  }
  if (steps >= 5) {
    const std::int64_t price = random_between(rng, 2, largest);
    note_fact(story, fmt::format("A box sells for ${}.", price), "price", price);
    made = calculate(story, made, '*', price);
    story.question = "How many dollars do the boxes of a day sell for?";
  }
  if (steps >= 6) {
    const std::int64_t costs = random_between(rng, 1, made);
    note_fact(story, fmt::format("Electricity costs ${} a day.", costs), "costs", costs);
    made = calculate(story, made, '-', costs);
    story.question = "How many dollars are left of a day's sales when electricity is paid?";
  }
  story.answer = made;
  return story;
}

/// What several bring is shared out evenly.
Story tell_sharing(Rng& rng, std::int64_t steps, std::int64_t largest) {
  Story story;
  const std::string_view things = random_item(rng, kThings);
  const auto people = some_people(rng, static_cast<std::size_t>(steps));
  const std::int64_t children = random_between(rng, 2, 9);
  std::vector<std::int64_t> brought;
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < people.size(); ++i)
    brought.push_back(random_between(rng, children + 1, largest + 9));
  for (const std::int64_t amount : brought) sum += amount;
  brought.back() -= sum % children;  // so that it comes out even
  for (std::size_t i = 0; i < people.size(); ++i)
    note_fact(story, fmt::format("{} brings {} {}.", people[i], brought[i], things), "brings", brought[i]);
  note_fact(story, fmt::format("All {} are shared out evenly among {} children.", things, children), "among",
            children);
  std::int64_t total = brought.front();
  for (std::size_t i = 1; i < brought.size(); ++i) total = calculate(story, total, '+', brought[i]);
  story.answer = calculate(story, total, '/', children);
  story.question = fmt::format("How many {} does each child get?", things);
  return story;
}

}  // namespace

Story tell_story(Rng& rng, std::string_view kind, std::int64_t steps, std::int64_t largest) {
  Story story;
  if (kind == "collection") story = tell_collection(rng, steps, largest);
  if (kind == "shopping") story = tell_sum_of_products(rng, steps, largest, kShopping);
  if (kind == "trip") story = tell_sum_of_products(rng, steps, largest, kTrip);
  if (kind == "ages") story = tell_ages(rng, steps, largest);
  if (kind == "factory") story = tell_factory(rng, steps, largest);
  if (kind == "sharing") story = tell_sharing(rng, steps, largest);
  require(!story.question.empty(), "there are no stories of the kind {}", kind);
  story.canonical = fmt::format("{}{}", kind, story.canonical);
  return story;
}

std::string irrelevant_fact(Rng& rng) {
  const std::int64_t number = random_between(rng, 2, 40);
  static constexpr std::array<std::string_view, 6> kFacts = {
      "It is {} degrees outside.",          "The house next door has {} windows.",
      "A bus passes every {} minutes.",     "The nearest shop is {} minutes away.",
      "There are {} trees along the road.", "The town has {} bridges."};
  return fmt::format(fmt::runtime(random_item(rng, kFacts)), number);
}

}  // namespace fathom
