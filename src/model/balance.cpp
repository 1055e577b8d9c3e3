#include "model/balance.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "base/error.h"
#include "kernels/gating.h"
#include "model/sequence_peers.h"

namespace fathom {
namespace {

std::int64_t sum(std::span<const std::int64_t> load) {
  return std::accumulate(load.begin(), load.end(), std::int64_t{0});
}

double row_sum(const float* row, std::int64_t count) {
  return std::accumulate(row, row + count, 0.0);
}

/// selected[i] += tokens that have expert i among their highest.
void count_selected(const float* affinity, std::int64_t tokens, std::int64_t top_k,
                    std::span<std::int64_t> selected) {
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(tokens * top_k));
  kernels::select_experts({.experts = static_cast<std::int64_t>(selected.size()), .top_k = top_k}, affinity,
                          tokens, chosen.data());
  for (const std::int32_t expert : chosen) ++selected[static_cast<std::size_t>(expert)];
}

/// Fills in f_i, and returns the part of sum_i f_i · P_i that the tokens here have in it.
/// @param length    tokens of the whole sequence
/// @param selected  of the whole sequence
double sequence_loss(const float* affinity, std::int64_t tokens, std::int64_t length, std::int64_t top_k,
                     std::span<const std::int64_t> selected, float* frequency) {
  const std::size_t size = selected.size();
  const auto experts = static_cast<std::int64_t>(size);
  std::vector<double> share(size, 0.0);  // T · P_i
  for (std::int64_t t = 0; t < tokens; ++t) {
    const float* row = affinity + t * experts;
    const double inverse = 1.0 / row_sum(row, experts);
    for (std::size_t i = 0; i < size; ++i) share[i] += static_cast<double>(row[i]) * inverse;
  }
  const double per_selection = static_cast<double>(experts) / static_cast<double>(top_k * length);
  double loss = 0.0;
  for (std::size_t i = 0; i < size; ++i) {
    const double f = per_selection * static_cast<double>(selected[i]);
    frequency[i] = static_cast<float>(f);
    loss += f * share[i] / static_cast<double>(length);
  }
  return loss;
}

}  // namespace

void update_router_bias(Tensor& bias, std::span<const std::int64_t> load, double gamma) {
  require(bias.size() == static_cast<std::int64_t>(load.size()), "a router bias of {} values for {} loads",
          bias.size(), load.size());
  // Compared without division: load_i · n against the sum.
  const std::int64_t total = sum(load);
  const auto experts = static_cast<std::int64_t>(load.size());
  const auto step = static_cast<float>(gamma);
  float* b = bias.f32();
  for (std::size_t i = 0; i < load.size(); ++i) {
    const std::int64_t scaled = load[i] * experts;
    if (scaled < total) b[i] += step;
    if (scaled > total) b[i] -= step;
  }
}

double max_violation(std::span<const std::int64_t> load) {
  const std::int64_t total = sum(load);
  if (total == 0) return 0.0;
  const std::int64_t highest = *std::ranges::max_element(load);
  return static_cast<double>(highest) * static_cast<double>(load.size()) / static_cast<double>(total) - 1.0;
}

double mean_max_violation(std::span<const std::vector<std::int64_t>> loads) {
  if (loads.empty()) return 0.0;
  double total = 0.0;
  for (const std::vector<std::int64_t>& load : loads) total += max_violation(load);
  return total / static_cast<double>(loads.size());
}

double sequence_balance_loss(const Context& context, const Tensor& affinity, const Sequences& sequences,
                             std::int64_t top_k, Tensor& frequency) {
  const std::int64_t experts = affinity.dim(1);
  require(sequences.tokens() == affinity.dim(0), "sequences of {} tokens for affinities of {}",
          sequences.tokens(), affinity.dim(0));
  frequency = Tensor::zeros({sequences.count(), experts});
  const auto size = static_cast<std::size_t>(experts);
  std::vector<double> losses(static_cast<std::size_t>(sequences.count()), 0.0);
  std::vector<std::int64_t> selected(losses.size() * size, 0);
  const auto selected_of = [&](std::size_t s) { return std::span(selected).subspan(s * size, size); };
  const auto rows_of = [&](std::size_t s) { return affinity.f32() + sequences.offsets[s] * experts; };
  context.pool.parallel_for(losses.size(), [&](std::size_t s) {
    count_selected(rows_of(s), sequences.rows_of(static_cast<std::int64_t>(s)), top_k, selected_of(s));
  });
  if (sequences.are_shared()) context.sequence_peers->sum(selected);
  context.pool.parallel_for(losses.size(), [&](std::size_t s) {
    const auto sequence = static_cast<std::int64_t>(s);
    if (sequences.length(sequence) == 0) return;
    losses[s] = sequence_loss(rows_of(s), sequences.rows_of(sequence), sequences.length(sequence), top_k,
                              selected_of(s), frequency.f32() + sequence * experts);
  });
  const std::int64_t counted = sequences.count_with_tokens();
  return counted == 0 ? 0.0
                      : std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(counted);
}

void add_sequence_balance_gradient(const Context& context, const Tensor& affinity, const Sequences& sequences,
                                   const Tensor& frequency, double scale, Tensor& daffinity) {
  const std::int64_t experts = affinity.dim(1);
  const std::int64_t counted = sequences.count_with_tokens();
  context.pool.parallel_for(static_cast<std::size_t>(sequences.count()), [&](std::size_t s) {
    const float* f = frequency.f32() + static_cast<std::int64_t>(s) * experts;
    const std::int64_t tokens = sequences.length(static_cast<std::int64_t>(s));
    for (std::int64_t t = sequences.offsets[s]; t < sequences.offsets[s + 1]; ++t) {
      const float* row = affinity.f32() + t * experts;
      float* drow = daffinity.f32() + t * experts;
      // d(s_i / sum_j s_j) contracted with f: (f_i - sum_j f_j · s_j / sum) / sum.
      const double total = row_sum(row, experts);
      const double mean = std::inner_product(f, f + experts, row, 0.0) / total;
      const double factor = scale / (static_cast<double>(counted) * static_cast<double>(tokens) * total);
      for (std::int64_t i = 0; i < experts; ++i)
        drow[i] += static_cast<float>(factor * (static_cast<double>(f[i]) - mean));
    }
  });
}

double batch_balance_loss(const Tensor& affinity, std::span<const std::int64_t> load, std::int64_t top_k,
                          bool normalised, Tensor& frequency) {
  const std::int64_t experts = affinity.dim(1);
  require(static_cast<std::int64_t>(load.size()) == experts, "loads of {} experts for affinities of {}",
          load.size(), experts);
  frequency = Tensor::zeros({1, experts});
  const std::int64_t tokens = sum(load) / top_k;
  if (tokens == 0) return 0.0;
  std::vector<double> sums(load.size(), 0.0);  // T · P_i
  for (std::int64_t t = 0; t < affinity.dim(0); ++t) {
    const float* row = affinity.f32() + t * experts;
    const double inverse = normalised ? 1.0 / row_sum(row, experts) : 1.0;
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(row[i]) * inverse;
  }
  const double per_selection = static_cast<double>(experts) / static_cast<double>(top_k * tokens);
  double loss = 0.0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double f = per_selection * static_cast<double>(load[i]);
    frequency.f32()[i] = static_cast<float>(f);
    loss += f * sums[i] / static_cast<double>(tokens);
  }
  return loss;
}

void add_batch_balance_gradient(const Context& context, const Tensor& affinity, const Tensor& frequency,
                                bool normalised, double scale, Tensor& daffinity) {
  if (normalised) {
    const Sequences whole = Sequences::uniform(1, affinity.dim(0));
    add_sequence_balance_gradient(context, affinity, whole, frequency, scale, daffinity);
    return;
  }
  constexpr std::size_t kTokensPerItem = 64;
  const std::int64_t experts = daffinity.dim(1);
  const auto factor = static_cast<float>(scale / static_cast<double>(daffinity.dim(0)));
  const float* f = frequency.f32();
  context.pool.parallel_ranges(
      static_cast<std::size_t>(daffinity.dim(0)), kTokensPerItem, [&](std::size_t begin, std::size_t end) {
        for (auto t = static_cast<std::int64_t>(begin); t < static_cast<std::int64_t>(end); ++t)
          for (std::int64_t i = 0; i < experts; ++i) daffinity.f32()[t * experts + i] += factor * f[i];
      });
}

}  // namespace fathom
