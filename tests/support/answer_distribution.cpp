#include "support/answer_distribution.h"

#include <cmath>

namespace fathom::test {
namespace {

using Tokens = std::vector<std::int32_t>;

struct Walk {
  const Context& context;
  const Transformer& model;
  const SamplingOptions& sampling;
  std::size_t prompt_tokens;
  std::size_t all_tokens;
  std::map<Tokens, double>& found;

  void add(const Tokens& text, double probability) {
    if (text.size() == all_tokens) {
      found[Tokens(text.begin() + static_cast<std::ptrdiff_t>(prompt_tokens), text.end())] += probability;
      return;
    }
    Sampler sampler(sampling);
    for (const std::int32_t token : text) sampler.accept(token);
    const auto length = static_cast<std::int64_t>(text.size());
    const Tensor hidden = model.hidden_states(context, text, Sequences::uniform(1, length));
    const Tensor logits = model.head(context, hidden.rows(length - 1, length));
    for (const Sampler::Candidate& candidate : sampler.distribution(logits.values())) {
      Tokens next = text;
      next.push_back(candidate.token);
      add(next, probability * candidate.probability);
    }
  }
};

}  // namespace

std::map<Tokens, double> continuations(const Context& context, const Transformer& model,
                                       std::span<const std::int32_t> prompt, const SamplingOptions& sampling,
                                       std::int64_t tokens) {
  std::map<Tokens, double> found;
  Walk{context, model, sampling, prompt.size(), prompt.size() + static_cast<std::size_t>(tokens), found}.add(
      Tokens(prompt.begin(), prompt.end()), 1.0);
  return found;
}

double ChiSquare::limit() const {
  const double part = 2.0 / (9.0 * freedom);
  return freedom * std::pow(1.0 - part + 3.09 * std::sqrt(part), 3.0);
}

ChiSquare chi_square(const std::map<Tokens, double>& expected, const std::map<Tokens, int>& seen) {
  int answers = 0;
  for (const auto& [answer, count] : seen) answers += count;
  ChiSquare result;
  result.impossible = answers;
  double rare = 0;
  int rare_seen = 0;
  int cells = 0;
  for (const auto& [answer, probability] : expected) {
    const double mean = probability * answers;
    const auto found = seen.find(answer);
    const int count = found != seen.end() ? found->second : 0;
    result.impossible -= count;
    if (mean < 5) {
      rare += mean;
      rare_seen += count;
      continue;
    }
    result.statistic += (count - mean) * (count - mean) / mean;
    ++cells;
  }
  if (rare > 0) {
    result.statistic += (rare_seen - rare) * (rare_seen - rare) / rare;
    ++cells;
  }
  result.freedom = cells - 1;
  return result;
}

}  // namespace fathom::test
