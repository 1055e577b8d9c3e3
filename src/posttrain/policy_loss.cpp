#include "posttrain/policy_loss.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "base/error.h"

namespace fathom {
namespace {

double mean_reward(std::span<const double> rewards) {
  return std::accumulate(rewards.begin(), rewards.end(), 0.0) / static_cast<double>(rewards.size());
}

/// A surrogate and its derivative by the logarithm of the ratio.
struct Surrogate {
  double value = 0;
  double slope = 0;
  bool is_clipped = false;
};

Surrogate surrogate(double ratio, double advantage, const PolicyLossOptions& options) {
  const double clipped = std::clamp(ratio, 1.0 - options.clip_low, 1.0 + options.clip_high);
  if (clipped * advantage < ratio * advantage) return {clipped * advantage, 0.0, true};
  return {ratio * advantage, ratio * advantage, false};
}

/// An estimate of KL from one token and its derivative by the policy's log-probability.
struct KlTerm {
  double value = 0;
  double slope = 0;
};

KlTerm kl_term(double difference, KlEstimator estimator) {
  switch (estimator) {
    case KlEstimator::k1:
      return {difference, 1.0};
    case KlEstimator::k2:
      return {difference * difference / 2, difference};
    case KlEstimator::k3:
      return {std::exp(-difference) + difference - 1.0, 1.0 - std::exp(-difference)};
  }
  fail("no such estimator of KL");
}

void check_lengths(const AnswerLogprobs& answer, const PolicyLossOptions& options) {
  require(!answer.current.empty(), "an answer without tokens has no policy loss");
  const bool has_reference = answer.reference.size() == answer.current.size() ||
                             (options.kl_factor == 0 && answer.reference.empty());
  require(answer.sampled.size() == answer.current.size() && has_reference,
          "an answer has log-probabilities of {} tokens now, {} when it was sampled, and {} by the reference",
          answer.current.size(), answer.sampled.size(), answer.reference.size());
}

/// log(policy / policy that sampled) of an answer's token.
double log_ratio(const AnswerLogprobs& answer, std::size_t token) {
  return static_cast<double>(answer.current[token]) - static_cast<double>(answer.sampled[token]);
}

double mean_log_ratio(const AnswerLogprobs& answer) {
  double sum = 0;
  for (std::size_t t = 0; t < answer.current.size(); ++t) sum += log_ratio(answer, t);
  return sum / static_cast<double>(answer.current.size());
}

/// Adds an answer, each of whose tokens counts `weight`.
void add_answer(const AnswerLogprobs& answer, double weight, const PolicyLossOptions& options,
                PolicyLoss& sum) {
  const std::size_t tokens = answer.current.size();
  std::vector<float>& gradient = sum.gradients.emplace_back(tokens);
  const bool is_by_sequence = options.ratio == PolicyRatio::sequence;
  const double sequence_ratio = is_by_sequence ? std::exp(mean_log_ratio(answer)) : 1.0;
  for (std::size_t t = 0; t < tokens; ++t) {
    const double ratio = is_by_sequence ? sequence_ratio : std::exp(log_ratio(answer, t));
    const Surrogate gain = surrogate(ratio, answer.advantage, options);
    sum.loss -= weight * gain.value;
    // By sequence: a token has 1 / tokens of the ratio's logarithm, which stands in the terms of all of them.
    double slope = -weight * gain.slope;
    sum.ratio += ratio;
    sum.clipped += gain.is_clipped ? 1.0 : 0.0;
    if (!answer.reference.empty()) {
      const KlTerm kl = kl_term(
          static_cast<double>(answer.current[t]) - static_cast<double>(answer.reference[t]), options.kl);
      sum.kl += kl.value;
      sum.loss += weight * options.kl_factor * kl.value;
      slope += weight * options.kl_factor * kl.slope;
    }
    gradient[t] = static_cast<float>(slope);
  }
}

}  // namespace

std::vector<double> group_advantages(std::span<const double> rewards, AdvantageKind kind) {
  constexpr double kLeastDeviation = 1e-4;
  std::vector<double> advantages(rewards.size());
  if (!is_informative(rewards)) return advantages;
  const double mean = mean_reward(rewards);
  double squares = 0;
  for (const double reward : rewards) squares += (reward - mean) * (reward - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(rewards.size() - 1));
  const double unit = kind == AdvantageKind::normalised ? deviation + kLeastDeviation : 1.0;
  std::ranges::transform(rewards, advantages.begin(), [&](double reward) { return (reward - mean) / unit; });
  return advantages;
}

bool is_informative(std::span<const double> rewards) {
  return std::ranges::any_of(rewards, [&](double reward) { return reward != rewards.front(); });
}

void validate_policy_loss_options(const PolicyLossOptions& options) {
  const auto check = [](bool is_right, const char* name, double value, const char* range) {
    if (!is_right) throw UsageError(fmt::format("{} is {}; it must be {}", name, value, range));
  };
  check(options.clip_low >= 0, "clip-low", options.clip_low, "at least 0");
  check(options.clip_high >= 0, "clip-high", options.clip_high, "at least 0");
  check(options.kl_factor >= 0, "kl", options.kl_factor, "at least 0");
  check(options.weights != TokenWeights::constant_length || options.constant_length > 0, "constant-length",
        static_cast<double>(options.constant_length), "at least 1 where tokens are weighed by it");
}

PolicyLoss policy_loss(std::span<const AnswerLogprobs> answers, const PolicyLossOptions& options) {
  validate_policy_loss_options(options);
  double tokens = 0;
  for (const AnswerLogprobs& answer : answers) {
    check_lengths(answer, options);
    tokens += static_cast<double>(answer.current.size());
  }
  const auto weight_in = [&](const AnswerLogprobs& answer) {
    const auto count = static_cast<double>(answers.size());
    switch (options.weights) {
      case TokenWeights::sequence_mean:
        return 1.0 / (count * static_cast<double>(answer.current.size()));
      case TokenWeights::token_mean:
        return 1.0 / tokens;
      case TokenWeights::constant_length:
        return 1.0 / (count * static_cast<double>(options.constant_length));
    }
    fail("no such weights of tokens");
  };
  PolicyLoss sum;
  sum.ratio = 0;
  for (const AnswerLogprobs& answer : answers) add_answer(answer, weight_in(answer), options, sum);
  if (tokens > 0) {
    sum.kl /= tokens;
    sum.clipped /= tokens;
    sum.ratio /= tokens;
  }
  return sum;
}

}  // namespace fathom
