#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

using Candidate = Sampler::Candidate;

/// Stream of the Philox generator that sampling draws from; other users of the same seed take others.
constexpr std::uint64_t kSamplingStream = 0x53414D504C45;  // "SAMPLE"

[[noreturn]] void out_of_range(const char* option, double value, const char* range) {
  throw UsageError(fmt::format("{} is {}; it must be {}", option, value, range));
}

/// Keeps the `keep` candidates of highest rank, which come out sorted.
template <typename Better>
void keep_best(std::vector<Candidate>& candidates, std::size_t keep, const Better& better) {
  keep = std::min(keep, candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(keep),
                    candidates.end(), better);
  candidates.resize(keep);
}

double largest(const std::vector<Candidate>& candidates) {
  double value = candidates.front().probability;
  for (const Candidate& candidate : candidates) value = std::max(value, candidate.probability);
  return value;
}

void normalise(std::vector<Candidate>& candidates) {
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += candidate.probability;
  for (Candidate& candidate : candidates) candidate.probability /= sum;
}

/// Probabilities of candidates whose `probability` holds a logit. The largest is taken off before the
/// division, which a tiny temperature would make overflow.
void softmax(std::vector<Candidate>& candidates, double temperature) {
  const double best = largest(candidates);
  for (Candidate& candidate : candidates)
    candidate.probability = std::exp((candidate.probability - best) / temperature);
  normalise(candidates);
}

bool more_probable(const Candidate& a, const Candidate& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.token < b.token;
}

/// The fewest tokens that reach `top_p`, best first. A heap, not a sort: of a vocabulary of 129,280 a few
/// hundred are usually enough.
std::vector<Candidate> take_top_p(std::vector<Candidate> candidates, double top_p) {
  const auto worse = [](const Candidate& a, const Candidate& b) { return more_probable(b, a); };
  std::ranges::make_heap(candidates, worse);
  std::vector<Candidate> kept;
  double reached = 0;
  auto end = candidates.end();
  while (end != candidates.begin() && (kept.empty() || reached < top_p)) {
    std::pop_heap(candidates.begin(), end, worse);
    --end;
    kept.push_back(*end);
    reached += end->probability;
  }
  return kept;
}

/// Puts what is probable first and in order; of the rest, by far the most, each stays behind its like.
void put_probable_first(std::vector<Candidate>& candidates) {
  constexpr double kProbable = 0.005;
  const auto rest = std::stable_partition(candidates.begin(), candidates.end(),
                                          [](const Candidate& c) { return c.probability >= kProbable; });
  std::sort(candidates.begin(), rest, more_probable);
}

}  // namespace

void validate_sampling_options(const SamplingOptions& o) {
  // Written so that NaN fails each.
  if (!(o.temperature >= 0 && std::isfinite(o.temperature)))
    out_of_range("temperature", o.temperature, "0 (greedy) or more");
  if (o.top_k < 0) out_of_range("top-k", static_cast<double>(o.top_k), "0 (off) or more");
  if (!(o.top_p > 0 && o.top_p <= 1)) out_of_range("top-p", o.top_p, "above 0 and at most 1 (off)");
  if (!(o.min_p >= 0 && o.min_p <= 1)) out_of_range("min-p", o.min_p, "from 0 (off) to 1");
  if (!(o.repetition_penalty >= 0.01 && o.repetition_penalty <= 100))
    out_of_range("repetition-penalty", o.repetition_penalty, "from 0.01 to 100 (1: off)");
}

void check_logits(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  bool any_finite = false;
  bool usable = true;
  for (const float logit : logits) {
    usable = usable && logit < kInfinity;  // false for NaN too
    any_finite = any_finite || logit > -kInfinity;
  }
  if (!usable || !any_finite) throw NonFiniteLogits("the model's logits are not numbers");
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), rng_(options.seed, kSamplingStream) {
  validate_sampling_options(options);
}

void Sampler::accept(std::int32_t token) {
  const auto index = static_cast<std::size_t>(token);
  if (index >= seen_.size()) seen_.resize(index + 1);
  seen_[index] = true;
  if (matcher_) require(matcher_->accept(token), "token {} does not go on with the grammar's text", token);
}

void Sampler::constrain(std::shared_ptr<const TokenGrammar> grammar) {
  if (grammar != nullptr) matcher_.emplace(std::move(grammar));
}

template <typename Use>
void Sampler::for_each_allowed(std::span<const float> logits, const Use& use) const {
  const auto use_possible = [&](std::size_t token) {
    if (logits[token] > -std::numeric_limits<float>::infinity()) use(token);
  };
  if (!matcher_) {
    for (std::size_t token = 0; token < logits.size(); ++token) use_possible(token);
  } else {
    matcher_->mask().for_each([&](std::size_t token) {
      if (token < logits.size()) use_possible(token);
    });
  }
}

double Sampler::penalised(std::span<const float> logits, std::size_t token) const {
  const double logit = logits[token];
  if (token >= seen_.size() || !seen_[token]) return logit;
  return logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
}

std::vector<Sampler::Candidate> Sampler::distribution(std::span<const float> logits) const {
  check_logits(logits);
  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  for_each_allowed(logits, [&](std::size_t token) {
    candidates.push_back({static_cast<std::int32_t>(token), penalised(logits, token)});
  });
  if (candidates.empty())
    throw NoTokenFits("no token of the vocabulary goes on with the text that the grammar wants");

  if (options_.temperature == 0) {
    keep_best(candidates, 1, more_probable);
    candidates.front().probability = 1.0;
    return candidates;
  }
  if (options_.top_k > 0) keep_best(candidates, static_cast<std::size_t>(options_.top_k), more_probable);
  softmax(candidates, options_.temperature);
  if (options_.top_p < 1) candidates = take_top_p(std::move(candidates), options_.top_p);
  const double least = options_.min_p * largest(candidates);
  std::erase_if(candidates, [&](const Candidate& candidate) {
    return candidate.probability == 0 || candidate.probability < least;
  });
  normalise(candidates);
  return candidates;
}

bool Sampler::is_close_call(std::span<const float> logits) const {
  // Sums in f32 over some thousand products in another order, and what later layers make of the difference.
  constexpr double kRounding = 1e-4;
  if (options_.temperature > 0) return false;
  double best = -std::numeric_limits<double>::infinity();
  double second = best;
  for_each_allowed(logits, [&](std::size_t token) {
    const double logit = penalised(logits, token);
    if (logit <= second) return;
    second = std::min(best, logit);
    best = std::max(best, logit);
  });
  return best - second <= kRounding * std::abs(best);
}

std::int32_t Sampler::sample(std::span<const float> logits) {
  std::vector<Candidate> candidates = distribution(logits);
  if (options_.temperature == 0) return candidates.front().token;
  double left = rng_.uniform();
  if (options_.top_k == 0 && options_.top_p == 1) put_probable_first(candidates);  // else they are in order
  for (const Candidate& candidate : candidates) {
    left -= candidate.probability;
    if (left < 0) return candidate.token;
  }
  return candidates.back().token;  // the probabilities' sum rounds to a little less than 1
}

}  // namespace fathom
