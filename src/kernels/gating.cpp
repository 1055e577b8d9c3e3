#include "kernels/gating.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>
#include <vector>

#include "base/error.h"

namespace fathom::kernels {
namespace {

/// Orders (score, index) pairs by one integer comparison: the score's bits made monotonic above, the index
/// reversed below. No key is 0.
std::uint64_t rank_key(float score, std::int64_t index) {
  constexpr std::uint32_t kNaN = 0x7FC00000U;
  constexpr std::uint32_t kSign = 0x80000000U;
  const std::uint32_t bits =
      std::isnan(score) ? kNaN : std::bit_cast<std::uint32_t>(score + 0.0F);  // -0 is 0
  const std::uint32_t ordered = (bits & kSign) != 0 ? ~bits : bits | kSign;
  return (std::uint64_t{ordered} << 32U) | ~static_cast<std::uint32_t>(index);
}

std::int32_t index_of_key(std::uint64_t key) {
  return static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
}

/// Puts `key` in its place in the descending list `best`, whose last then falls off.
void keep_best(std::span<std::uint64_t> best, std::uint64_t key) {
  if (key <= best.back()) return;
  std::size_t place = best.size() - 1;
  for (; place > 0 && best[place - 1] < key; --place) best[place] = best[place - 1];
  best[place] = key;
}

float group_score(GroupScore kind, std::span<const float> scores) {
  std::uint64_t best[2] = {0, 0};
  for (std::size_t i = 0; i < scores.size(); ++i)
    keep_best(best, rank_key(scores[i], static_cast<std::int64_t>(i)));
  const float first = scores[static_cast<std::size_t>(index_of_key(best[0]))];
  if (kind == GroupScore::maximum || best[1] == 0) return first;
  return first + scores[static_cast<std::size_t>(index_of_key(best[1]))];
}

}  // namespace

void sigmoid(float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) x[i] = 1.0F / (1.0F + std::exp(-x[i]));
}

void softmax(float* x, std::int64_t tokens, std::int64_t experts) {
  for (std::int64_t t = 0; t < tokens; ++t, x += experts) {
    const float highest = *std::max_element(x, x + experts);
    float sum = 0.0F;
    for (std::int64_t i = 0; i < experts; ++i) {
      x[i] = std::exp(x[i] - highest);
      sum += x[i];
    }
    for (std::int64_t i = 0; i < experts; ++i) x[i] /= sum;
  }
}

void sigmoid_backward(const float* affinity, const float* daffinity, std::int64_t count, float* dlogits) {
  for (std::int64_t i = 0; i < count; ++i) dlogits[i] = daffinity[i] * affinity[i] * (1.0F - affinity[i]);
}

void softmax_backward(const float* affinity, const float* daffinity, std::int64_t tokens,
                      std::int64_t experts, float* dlogits) {
  for (std::int64_t t = 0; t < tokens; ++t, affinity += experts, daffinity += experts, dlogits += experts) {
    float mean = 0.0F;  // of daffinity under the affinities
    for (std::int64_t i = 0; i < experts; ++i) mean += daffinity[i] * affinity[i];
    for (std::int64_t i = 0; i < experts; ++i) dlogits[i] = affinity[i] * (daffinity[i] - mean);
  }
}

void check_expert_selection(const ExpertSelection& rule) {
  require(rule.experts > 0 && rule.experts <= INT32_MAX, "a router over {} experts", rule.experts);
  require(rule.groups > 0 && rule.experts % rule.groups == 0,
          "{} experts do not divide into n_group = {} groups", rule.experts, rule.groups);
  require(rule.top_groups > 0 && rule.top_groups <= rule.groups, "topk_group = {} of n_group = {} groups",
          rule.top_groups, rule.groups);
  const std::int64_t eligible = rule.experts / rule.groups * rule.top_groups;
  require(rule.top_k > 0 && rule.top_k <= eligible,
          "num_experts_per_tok = {}, but topk_group = {} groups hold {} experts", rule.top_k, rule.top_groups,
          eligible);
}

void select_experts(const ExpertSelection& rule, const float* scores, std::int64_t tokens,
                    std::int32_t* chosen) {
  const std::int64_t group_size = rule.experts / rule.groups;
  std::vector<std::uint64_t> best_groups(static_cast<std::size_t>(rule.top_groups));
  std::vector<std::uint64_t> best(static_cast<std::size_t>(rule.top_k));
  const auto offer = [&](const float* row, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) keep_best(best, rank_key(row[i], i));
  };
  for (std::int64_t t = 0; t < tokens; ++t) {
    const float* row = scores + t * rule.experts;
    std::ranges::fill(best, 0);
    if (rule.top_groups == rule.groups) {
      offer(row, 0, rule.experts);
    } else {
      std::ranges::fill(best_groups, 0);
      for (std::int64_t g = 0; g < rule.groups; ++g) {
        const std::span<const float> group(row + g * group_size, static_cast<std::size_t>(group_size));
        keep_best(best_groups, rank_key(group_score(rule.group_score, group), g));
      }
      for (const std::uint64_t key : best_groups) {
        const std::int64_t begin = index_of_key(key) * group_size;
        offer(row, begin, begin + group_size);
      }
    }
    for (const std::uint64_t key : best) *chosen++ = index_of_key(key);
  }
}

}  // namespace fathom::kernels
