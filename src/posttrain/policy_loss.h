#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

/// How far each answer of a group is above the others, from their rewards.
enum class AdvantageKind : std::uint8_t {
  normalised,  // (r - mean) / (std + 1e-4): DeepSeekMath, arXiv 2402.03300, section 4.1
  centred,     // r - mean: Dr. GRPO, arXiv 2503.20783, which a group's difficulty does not bias
};

/// @param rewards  of the answers to one question; the deviation is the sample's, over one less than there
/// are Zeros where all rewards are equal.
std::vector<double> group_advantages(std::span<const double> rewards, AdvantageKind kind);

/// Whether a group teaches anything: whether its rewards differ. DAPO's dynamic sampling (arXiv 2503.14476,
/// section 3.2) draws other questions instead of those where they do not.
bool is_informative(std::span<const double> rewards);

/// What an answer's policy is compared by.
enum class PolicyRatio : std::uint8_t {
  token,     // each token's probability to that when it was sampled
  sequence,  // the geometric mean of those of an answer: GSPO, arXiv 2507.18071, equation 7
};

/// What each token of a step counts.
enum class TokenWeights : std::uint8_t {
  sequence_mean,    // 1 / (answers · length of its answer): GRPO; short answers' tokens count more
  token_mean,       // 1 / all tokens: DAPO, section 3.3
  constant_length,  // 1 / (answers · `constant_length`): Dr. GRPO
};

/// Schulman's estimators of KL(policy || reference) from a sampled token, d = log policy - log reference.
enum class KlEstimator : std::uint8_t {
  k1,  // d
  k2,  // d² / 2
  k3,  // exp(-d) + d - 1: DeepSeekMath, equation 4
};

struct PolicyLossOptions {
  PolicyRatio ratio = PolicyRatio::token;
  double clip_low = 0.2;   // ratios below 1 - clip_low gain no more by falling; above 1: never
  double clip_high = 0.2;  // above 1 + clip_high, by rising; DAPO takes 0.28
  TokenWeights weights = TokenWeights::sequence_mean;
  std::int64_t constant_length = 0;
  double kl_factor = 0;  // beta
  KlEstimator kl = KlEstimator::k3;
};
/// Throws `UsageError` naming the option that is out of range.
void validate_policy_loss_options(const PolicyLossOptions& options);

/// Log-probabilities of an answer's tokens, [tokens] each.
struct AnswerLogprobs {
  std::span<const float> current;    // by the policy that is trained
  std::span<const float> sampled;    // by the policy that drew them
  std::span<const float> reference;  // empty where there is no KL term
  double advantage = 0;
};

struct PolicyLoss {
  double loss = 0;     // what is minimised, its KL term included
  double kl = 0;       // mean over all tokens of the estimator; 0 without a reference
  double clipped = 0;  // part of the tokens (or, by sequence, of their answers) whose ratio gives no gradient
  double ratio = 1;    // mean of the ratios
  /// [answers][tokens] d loss / d current.
  std::vector<std::vector<float>> gradients;
};

/// The clipped surrogate of PPO over the answers of a step, with what GRPO and its corrections make of it
/// (arXiv 2402.03300, equation 3): the sum over tokens of
///
///     weight · (kl_factor · KL - min(ratio · A, clip(ratio, 1 - clip_low, 1 + clip_high) · A))
///
/// Sums are in double precision. Throws `Error` where lengths do not match, and for answers without tokens.
PolicyLoss policy_loss(std::span<const AnswerLogprobs> answers, const PolicyLossOptions& options);

}  // namespace fathom
