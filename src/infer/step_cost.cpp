#include "infer/step_cost.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

#include "model/moe_layers.h"
#include "model/weights.h"

namespace fathom {
namespace {

/// Arithmetic of a further token, which reading weights does not hide altogether.
constexpr double kTokenItself = 0.03;

std::size_t place_of(std::int64_t tokens) {
  return static_cast<std::size_t>(std::clamp<std::int64_t>(tokens, 0, StepCost::kMostTokens));
}

std::int64_t texts_at(std::span<const std::int64_t> lengths, std::int64_t depth) {
  return std::ranges::count_if(lengths, [depth](std::int64_t length) { return length >= depth; });
}

double sum_of(const std::vector<double>& parts) {
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

}  // namespace

double distinct_experts(std::int64_t experts, std::int64_t chosen, std::int64_t tokens) {
  const auto all = static_cast<double>(experts);
  return all * (1.0 - std::pow(1.0 - static_cast<double>(chosen) / all, static_cast<double>(tokens)));
}

StepCost::StepCost(const ModelConfig& config, const Drafter& drafter)
    : passes_(kMostTokens + 1), drafts_(kMostTokens + 1) {
  const auto active = static_cast<double>(count_parameters(config).activated_without_input_embedding);
  const double layers = static_cast<double>(moe_layers_before(config, config.num_hidden_layers));
  const double expert = 3.0 * static_cast<double>(config.hidden_size * config.moe_intermediate_size) * layers;
  const double shared = active - expert * static_cast<double>(layers > 0 ? config.num_experts_per_tok : 0);
  for (std::int64_t tokens = 0; tokens <= kMostTokens; ++tokens) {
    const double experts =
        layers > 0 ? distinct_experts(config.n_routed_experts, config.num_experts_per_tok, tokens) : 0.0;
    guess_.push_back((shared + expert * experts) / active + kTokenItself * static_cast<double>(tokens - 1));
    // What a drafter reads of its own grows with the texts as what the model reads does with the tokens.
    if (tokens > 0) drafts_[place_of(tokens)].value = drafter.cost_of_draft() * guess_.back();
  }
  resuming_.value =
      drafter.cost_of_draft();  // a pass over more than one token, in the place of that over one
}

void StepCost::Figure::record(double measured) {
  constexpr double kForget = 0.08;
  constexpr double kFarOff = 2.0;
  measured = std::clamp(measured, value / kFarOff, value * kFarOff);
  ++seen;
  value += (measured - value) * std::max(kForget, 1.0 / static_cast<double>(seen));
}

double StepCost::pass(std::int64_t tokens) const {
  if (tokens <= 1) return 1.0;
  const Figure& figure = passes_[place_of(tokens)];
  const double guess = 1.0 + (guess_[place_of(tokens)] - 1.0) * slope_;
  const double known = figure.seen > 0 ? figure.value : guess;
  return known * std::max(1.0, static_cast<double>(tokens) / static_cast<double>(kMostTokens));
}

double StepCost::drafts_of(std::int64_t texts) const {
  return texts == 0 ? 0.0 : drafts_[place_of(texts)].value;
}

std::vector<double> StepCost::drafting(std::span<const std::int64_t> lengths) const {
  std::vector<double> parts(lengths.size());
  const std::int64_t longest = lengths.empty() ? 0 : std::ranges::max(lengths);
  for (std::int64_t depth = 1; depth <= longest; ++depth) {
    const std::int64_t texts = texts_at(lengths, depth);
    const double each = drafts_of(texts) / static_cast<double>(texts);
    for (std::size_t i = 0; i < lengths.size(); ++i) parts[i] += lengths[i] >= depth ? each : 0.0;
  }
  return parts;
}

double StepCost::drafts_measured(double usual, double seconds) const {
  constexpr double kMost = 3.0;  // passes: as much as a module may have to read
  return unit_ == 0 || usual == 0 ? usual : std::clamp(seconds / unit_, usual, std::max(usual, kMost));
}

void StepCost::PlainPasses::record(double seconds) {
  constexpr std::size_t kMost = 9;
  if (since > kUnitLasts / 4) times.clear();
  since = 0;
  if (times.size() == kMost) times.erase(times.begin());
  times.push_back(seconds);
}

double StepCost::PlainPasses::median() const {
  std::vector<double> sorted = times;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::ranges::nth_element(sorted, middle);
  return *middle;
}

void StepCost::record_pass(std::int64_t tokens, std::int64_t drafts, double seconds) {
  if (tokens < 1 || tokens > kMostTokens) return;
  ++of_one_.since;
  ++of_several_.since;
  if (unit_ == 0) {
    // The first pass finds nothing in any cache, and takes half as long again as those after it.
    unit_ = seconds / pass(tokens);
    return;
  }
  if (drafts == 0) {
    (tokens == 1 ? of_one_ : of_several_).record(seconds / pass(tokens));
    if (of_one_.are_enough())
      unit_ = of_one_.median();
    else if (of_several_.are_enough())
      unit_ = of_several_.median();
  }
  // In a unit too long what is measured, and by it what is guessed of other lengths, would look cheap.
  if (tokens > 1 && !unit_is_old()) record_figure(tokens, seconds / unit_);
}

void StepCost::record_figure(std::int64_t tokens, double measured_pass) {
  Figure& figure = passes_[place_of(tokens)];
  if (figure.seen == 0) figure.value = pass(tokens);
  figure.record(std::max(1.0, measured_pass));
  double measured = 0;
  double guessed = 0;
  for (std::size_t n = 2; n < passes_.size(); ++n) {
    if (passes_[n].seen == 0) continue;
    const auto weight = static_cast<double>(std::min<std::int64_t>(passes_[n].seen, 8));
    measured += weight * (passes_[n].value - 1.0);
    guessed += weight * (guess_[n] - 1.0);
  }
  slope_ = measured / guessed;
}

void StepCost::record_resuming(std::span<const std::int64_t> lengths, double seconds) {
  if (lengths.empty() || unit_ == 0) return;
  const double more = std::max(0.0, seconds / unit_ - sum_of(drafting(lengths)));
  resuming_.record(more / static_cast<double>(lengths.size()));
}

void StepCost::record_drafts(std::span<const std::int64_t> lengths, double seconds) {
  const double usual = sum_of(drafting(lengths));
  if (usual == 0 || unit_ == 0) return;
  // What it took more or less than usually is shared by all depths alike.
  const double scale = seconds / unit_ / usual;
  const std::int64_t longest = std::ranges::max(lengths);
  std::int64_t recorded = 0;
  for (std::int64_t depth = 1; depth <= longest; ++depth) {
    const std::int64_t texts = texts_at(lengths, depth);
    if (texts == std::exchange(recorded, texts)) continue;  // they become fewer, and each number counts once
    Figure& figure = drafts_[place_of(texts)];
    figure.record(figure.value * scale);
  }
}

}  // namespace fathom
