#pragma once

#include <cstdint>

namespace fathom::kernels {

// The arithmetic of a router, on rows of [tokens, experts] values; each function runs on the calling thread.

/// x = 1 / (1 + e^-x), elementwise.
void sigmoid(float* x, std::int64_t count);
/// Softmax of each row.
void softmax(float* x, std::int64_t tokens, std::int64_t experts);

/// dlogits = daffinity · s · (1 - s). `dlogits` may be `daffinity`.
void sigmoid_backward(const float* affinity, const float* daffinity, std::int64_t count, float* dlogits);
/// dlogits_i = s_i · (daffinity_i - sum_j daffinity_j · s_j), per row. `dlogits` may be `daffinity`.
void softmax_backward(const float* affinity, const float* daffinity, std::int64_t tokens,
                      std::int64_t experts, float* dlogits);

/// What the score of a group of experts is.
enum class GroupScore : std::uint8_t {
  maximum,          // DeepSeek-V2, group_limited_greedy
  two_highest_sum,  // DeepSeek-V3, noaux_tc
};

/// Node-limited selection: experts lie in `groups` runs of equal length; the `top_groups` groups of the
/// highest score stay, and the `top_k` experts of the highest score among theirs are chosen.
struct ExpertSelection {
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::int64_t groups = 1;
  std::int64_t top_groups = 1;  // as many as groups: no limit
  GroupScore group_score = GroupScore::two_highest_sum;
};

/// Throws `Error` unless `top_k` experts can be chosen under the rule.
void check_expert_selection(const ExpertSelection& rule);

/// Chooses each token's experts. A group that does not stay is out, whatever its scores (negative ones too).
/// The order is total, so the choice never depends on chance: higher scores first, the lower index first
/// among equals, and NaN above every number, as torch.topk has it, so that a NaN reaches the output and is
/// seen.
/// @param rule    has passed `check_expert_selection`
/// @param scores  [tokens, experts]
/// @param chosen  [tokens, top_k], distinct within a token, best first
void select_experts(const ExpertSelection& rule, const float* scores, std::int64_t tokens,
                    std::int32_t* chosen);

}  // namespace fathom::kernels
