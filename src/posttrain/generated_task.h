#pragma once

#include "base/rng.h"
#include "posttrain/task.h"

namespace fathom {

/// A task without end, whose problems are made from random numbers until one is of the wanted split.
class GeneratedTask : public Task {
 public:
  using Task::Task;

  [[nodiscard]] std::optional<std::int64_t> size(Split /*split*/) const override { return std::nullopt; }

 private:
  [[nodiscard]] Problem make_problem(Split split, std::uint64_t seed, std::int64_t index) const override;
  [[nodiscard]] virtual Problem generate(Rng& rng) const = 0;
};

/// Uniform from `least` to `most`, both included.
std::int64_t random_between(Rng& rng, std::int64_t least, std::int64_t most);

/// One of some items.
template <typename Items>
const auto& random_item(Rng& rng, const Items& items) {
  return items[static_cast<std::size_t>(rng.below(std::size(items)))];
}

/// Puts items into a random order (Fisher and Yates).
template <typename Items>
void shuffle_items(Rng& rng, Items& items) {
  for (std::size_t left = std::size(items); left > 1; --left)
    std::swap(items[left - 1], items[static_cast<std::size_t>(rng.below(left))]);
}

/// Lower-case English nouns.
const std::vector<std::string>& common_words();

}  // namespace fathom
