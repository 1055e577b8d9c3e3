#include "train/source_mix.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace fathom {
namespace {

constexpr int kBits = 16;
constexpr std::int64_t kBlock = std::int64_t{1} << kBits;  // positions after which the walk begins anew

std::int64_t reverse_bits(std::int64_t value) {
  std::int64_t reversed = 0;
  for (int bit = 0; bit < kBits; ++bit) reversed |= (value >> bit & 1) << (kBits - 1 - bit);
  return reversed;
}

/// How many of the first `count` points of a block's walk lie below `border`.
std::int64_t points_below(std::int64_t count, std::int64_t border) {
  if (count == kBlock) return border;
  std::int64_t below = 0;
  std::int64_t done = 0;
  // [0, count) falls into runs of 2^bit positions whose lower bits take all values: reversed, each run is
  // 2^bit points at even distances.
  for (int bit = kBits - 1; bit >= 0; --bit) {
    const std::int64_t run = std::int64_t{1} << bit;
    if ((count & run) == 0) continue;
    const std::int64_t first = reverse_bits(done);
    const std::int64_t distance = kBlock >> bit;
    if (border > first) below += std::min(run, (border - first + distance - 1) / distance);
    done += run;
  }
  return below;
}

}  // namespace

SourceMix::SourceMix(std::span<const double> weights) {
  require(!weights.empty() && static_cast<std::int64_t>(weights.size()) <= kBlock / 2,
          "{} sources of training text cannot be mixed", weights.size());
  for (const double weight : weights)
    require(std::isfinite(weight) && weight > 0, "a source's weight is {}, it must be above 0", weight);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  require(std::isfinite(total), "the weights of the sources are too large");

  // One part each, the rest by the largest remainder.
  const auto spare = kBlock - static_cast<std::int64_t>(weights.size());
  std::vector<std::int64_t> parts;
  std::vector<std::pair<double, std::size_t>> remainders;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double wanted = std::max(0.0, weights[i] / total * static_cast<double>(kBlock) - 1.0);
    parts.push_back(1 + std::min(spare, static_cast<std::int64_t>(wanted)));
    remainders.emplace_back(std::floor(wanted) - wanted, i);
  }
  std::sort(remainders.begin(), remainders.end());
  std::int64_t left = kBlock - std::accumulate(parts.begin(), parts.end(), std::int64_t{0});
  for (std::size_t i = 0; left > 0; i = (i + 1) % remainders.size(), --left) ++parts[remainders[i].second];
  // Least parts for tiny weights can only have come from the largest source.
  *std::max_element(parts.begin(), parts.end()) += left;
  for (const std::int64_t part : parts) borders_.push_back(borders_.back() + part);
}

SourceMix::Place SourceMix::at(std::int64_t position) const {
  const std::int64_t point = reverse_bits(position % kBlock);
  const auto source =
      static_cast<std::size_t>(std::upper_bound(borders_.begin(), borders_.end(), point) - borders_.begin()) -
      1;
  return {source, count(source, position)};
}

std::int64_t SourceMix::count(std::size_t source, std::int64_t positions) const {
  const std::int64_t begin = borders_[source];
  const std::int64_t end = borders_[source + 1];
  const std::int64_t in_block = positions % kBlock;
  return positions / kBlock * (end - begin) + points_below(in_block, end) - points_below(in_block, begin);
}

double SourceMix::share(std::size_t source) const {
  return static_cast<double>(borders_[source + 1] - borders_[source]) / static_cast<double>(kBlock);
}

}  // namespace fathom
