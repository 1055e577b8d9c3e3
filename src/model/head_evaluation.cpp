#include "model/head_evaluation.h"

#include <algorithm>
#include <utility>

#include "kernels/cross_entropy.h"
#include "kernels/distributions.h"
#include "model/head.h"
#include "model/linear.h"

namespace fathom {
namespace {

double rate(double accepted, double offered) {
  return offered > 0 ? accepted / offered : 0.0;
}

/// What a module's draft met, for each token that a chain of drafts may begin at.
struct Verdict {
  bool counted = false;  // there is such a draft, and a target
  bool agrees = false;   // it is the main model's most probable token
  float overlap = 0;     // of the two distributions
};

/// Cross-entropies of one head, summed up.
struct LossSum {
  double sum = 0;
  std::int64_t targets = 0;

  void add(ThreadPool& pool, Tensor& logits, std::span<const std::int32_t> of) {
    std::vector<float> losses(of.size());
    kernels::cross_entropy(pool, logits.f32(), of.data(), logits.dim(0), logits.dim(1), 0.0F, losses.data());
    for (const float loss : losses) sum += loss;
    targets += std::ranges::count_if(of, [](std::int32_t target) { return target >= 0; });
  }
  [[nodiscard]] double mean() const { return targets > 0 ? sum / static_cast<double>(targets) : 0.0; }
};

/// For each row of depth `depth`, the row of the main model that predicts the same token; ascending.
std::vector<std::int64_t> main_rows(const Sequences& sequences, std::int64_t depth) {
  std::vector<std::int64_t> rows;
  for (std::size_t s = 0; s + 1 < sequences.offsets.size(); ++s)
    for (std::int64_t row = sequences.offsets[s] + depth; row < sequences.offsets[s + 1]; ++row)
      rows.push_back(row);
  return rows;
}

/// Logits of some rows of the main model, as drafts are held against them.
struct MainSlice {
  std::int64_t begin = 0;            // the first row
  Tensor probabilities;              // [rows, vocab]
  std::vector<std::int32_t> chosen;  // [rows], the most probable token

  MainSlice(ThreadPool& pool, std::int64_t begin_, Tensor logits)
      : begin(begin_),
        probabilities(std::move(logits)),
        chosen(static_cast<std::size_t>(probabilities.dim(0))) {
    const std::int64_t rows = probabilities.dim(0);
    const std::int64_t vocab = probabilities.dim(1);
    kernels::argmax_rows(pool, probabilities.f32(), rows, vocab, chosen.data());
    kernels::softmax_rows(pool, probabilities.f32(), rows, vocab);
  }
};

/// What the drafts of one module met, with the module's logits (which are used up).
/// @param rows      the main row of each row of `logits`
/// @param targets   [rows]
/// @param depth     how many tokens before its main row a chain begins
/// @param verdicts  [tokens], by the row that the chain begins at
void judge_drafts(ThreadPool& pool, const MainSlice& main, std::span<const std::int64_t> rows, Tensor& logits,
                  std::span<const std::int32_t> targets, std::int64_t depth, std::vector<Verdict>& verdicts) {
  const std::int64_t count = logits.dim(0);
  const std::int64_t vocab = logits.dim(1);
  std::vector<std::int64_t> places(rows.begin(), rows.end());
  for (std::int64_t& place : places) place -= main.begin;
  std::vector<std::int32_t> chosen(rows.size());
  std::vector<float> overlap(rows.size());
  kernels::argmax_rows(pool, logits.f32(), count, vocab, chosen.data());
  kernels::softmax_rows(pool, logits.f32(), count, vocab);
  kernels::overlap_rows(pool, main.probabilities.f32(), places.data(), logits.f32(), count, vocab,
                        overlap.data());
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (targets[i] >= 0)
      verdicts[static_cast<std::size_t>(rows[i] - depth)] = {
          true, chosen[i] == main.chosen[static_cast<std::size_t>(places[i])], overlap[i]};
}

DraftAcceptance follow_chains(std::span<const std::vector<Verdict>> verdicts, std::size_t depth) {
  DraftAcceptance drafts;
  for (std::size_t start = 0; start < verdicts.front().size(); ++start) {
    bool reached = true;
    double probability = 1.0;
    for (std::size_t k = 0; k < depth; ++k) {
      const Verdict& before = verdicts[k][start];
      reached = reached && before.agrees;
      probability *= static_cast<double>(before.overlap);
    }
    const Verdict& own = verdicts[depth][start];
    if (!own.counted) continue;
    drafts.offered += reached ? 1 : 0;
    drafts.accepted += reached && own.agrees ? 1 : 0;
    drafts.sampled_offered += probability;
    drafts.sampled_accepted += probability * static_cast<double>(own.overlap);
  }
  return drafts;
}

}  // namespace

double DraftAcceptance::greedy_rate() const {
  return rate(static_cast<double>(accepted), static_cast<double>(offered));
}

double DraftAcceptance::sampled_rate() const {
  return rate(sampled_accepted, sampled_offered);
}

void DraftAcceptance::add(const DraftAcceptance& other) {
  offered += other.offered;
  accepted += other.accepted;
  sampled_offered += other.sampled_offered;
  sampled_accepted += other.sampled_accepted;
}

double tokens_per_step(std::span<const DraftAcceptance> drafts) {
  double tokens = 1.0;
  double chain = 1.0;
  for (const DraftAcceptance& draft : drafts) tokens += chain *= draft.greedy_rate();
  return tokens;
}

HeadEvaluation evaluate_heads(const Context& context, const LinearWeight& head,
                              std::span<const Tensor> states, const Sequences& sequences,
                              std::span<const std::int32_t> targets) {
  const std::size_t modules = states.size() - 1;
  const std::int64_t tokens = sequences.tokens();
  std::vector<LossSum> losses(states.size());
  std::vector<std::vector<Verdict>> verdicts(modules, std::vector<Verdict>(targets.size()));
  std::vector<std::vector<std::int64_t>> rows;
  for (std::size_t k = 0; k < modules; ++k)
    rows.push_back(main_rows(sequences, static_cast<std::int64_t>(k) + 1));

  const std::int64_t step = head_slice_rows(head.matrix().out);
  for (std::int64_t begin = 0; begin < tokens; begin += step) {
    const std::int64_t end = std::min(tokens, begin + step);
    Tensor logits = linear_forward(context, head, states[0].rows(begin, end));
    losses[0].add(context.pool, logits,
                  targets.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    if (modules == 0) continue;
    const MainSlice main(context.pool, begin, std::move(logits));
    for (std::size_t k = 0; k < modules; ++k) {
      const auto first = std::ranges::lower_bound(rows[k], begin);
      const auto last = std::ranges::lower_bound(rows[k], end);
      if (first == last) continue;
      const std::span<const std::int64_t> facing(first, last);
      const std::int64_t own = first - rows[k].begin();
      Tensor drafted = linear_forward(
          context, head, states[k + 1].rows(own, own + static_cast<std::int64_t>(facing.size())));
      std::vector<std::int32_t> wanted;
      for (const std::int64_t row : facing) wanted.push_back(targets[static_cast<std::size_t>(row)]);
      losses[k + 1].add(context.pool, drafted, wanted);
      judge_drafts(context.pool, main, facing, drafted, wanted, static_cast<std::int64_t>(k) + 1,
                   verdicts[k]);
    }
  }

  HeadEvaluation evaluation;
  evaluation.targets = losses[0].targets;
  for (const LossSum& loss : losses) evaluation.losses.push_back(loss.mean());
  for (std::size_t k = 0; k < modules; ++k) evaluation.drafts.push_back(follow_chains(verdicts, k));
  return evaluation;
}

}  // namespace fathom
