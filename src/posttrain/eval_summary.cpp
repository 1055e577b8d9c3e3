#include "posttrain/eval_summary.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "plan/text_table.h"

namespace fathom {
namespace {

using SamplesOfProblem = std::vector<const EvalSample*>;
/// Of one task and kind of answers, by the problem's index; samples in order.
using SamplesOfProblems = std::map<std::int64_t, SamplesOfProblem>;

bool is_right(const EvalSample& sample) {
  return sample.reward.accuracy >= 1;
}

/// Of each task, in the order in which they first occur.
std::vector<std::string> tasks_of(std::span<const EvalSample> samples) {
  std::vector<std::string> tasks;
  for (const EvalSample& sample : samples)
    if (std::ranges::find(tasks, sample.task) == tasks.end()) tasks.push_back(sample.task);
  return tasks;
}

SamplesOfProblems samples_of(std::span<const EvalSample> samples, const std::string& task, bool is_greedy) {
  SamplesOfProblems problems;
  for (const EvalSample& sample : samples)
    if (sample.task == task && sample.is_greedy() == is_greedy) problems[sample.index].push_back(&sample);
  for (auto& [index, of_problem] : problems)
    std::ranges::sort(of_problem, {}, [](const EvalSample* sample) { return sample->sample; });
  return problems;
}

std::size_t fewest_samples(const SamplesOfProblems& problems) {
  std::size_t fewest = problems.begin()->second.size();
  for (const auto& [index, samples] : problems) fewest = std::min(fewest, samples.size());
  return fewest;
}

/// Means over all answers, of which `count` of each problem are looked at.
template <typename Part>
void set_means(Part& part, const SamplesOfProblems& problems, std::size_t count) {
  double all = 0;
  for (const auto& [index, samples] : problems)
    for (std::size_t i = 0; i < count; ++i) {
      const EvalSample& sample = *samples[i];
      part.format += sample.reward.format;
      part.tokens += static_cast<double>(sample.tokens);
      part.truncated += sample.reason == "max_tokens" || sample.reason == "context_full" ? 1 : 0;
      ++all;
    }
  part.format /= all;
  part.tokens /= all;
  part.truncated /= all;
}

TaskSummary::Greedy greedy_summary(const SamplesOfProblems& problems) {
  TaskSummary::Greedy greedy;
  std::int64_t right = 0;
  for (const auto& [index, samples] : problems) right += is_right(*samples.front()) ? 1 : 0;
  greedy.problems = std::ssize(problems);
  greedy.accuracy = wilson_interval(right, greedy.problems);
  set_means(greedy, problems, 1);
  return greedy;
}

TaskSummary::Sampled sampled_summary(const SamplesOfProblems& problems) {
  TaskSummary::Sampled sampled;
  const std::size_t count = fewest_samples(problems);
  sampled.problems = std::ssize(problems);
  sampled.samples = static_cast<std::int64_t>(count);
  std::vector<std::int64_t> ks;
  for (std::int64_t k = 1; k < sampled.samples; k *= 2) ks.push_back(k);
  ks.push_back(sampled.samples);
  for (const std::int64_t k : ks) {
    std::vector<double> pass;
    std::vector<double> majority;
    for (const auto& [index, samples] : problems) {
      std::vector<Vote> votes;
      std::int64_t right = 0;
      for (std::size_t i = 0; i < count; ++i) {
        votes.push_back({samples[i]->reward.extracted, is_right(*samples[i]) ? 1.0 : 0.0});
        right += is_right(*samples[i]) ? 1 : 0;
      }
      pass.push_back(pass_at_k(sampled.samples, right, k));
      majority.push_back(majority_at_k(votes, k));
    }
    sampled.at.push_back({k, bootstrap_mean(pass), bootstrap_mean(majority)});
  }
  set_means(sampled, problems, count);
  return sampled;
}

OrderedJson estimate_json(const Estimate& estimate) {
  return {{"value", estimate.value}, {"low", estimate.low}, {"high", estimate.high}};
}

std::string percent_with_interval(const Estimate& estimate) {
  return fmt::format("{:.1f} % [{:.1f}, {:.1f}]", 100 * estimate.value, 100 * estimate.low,
                     100 * estimate.high);
}

/// Mean accuracy of a problem's samples.
double part_right(const SamplesOfProblem& samples) {
  return static_cast<double>(
             std::ranges::count_if(samples, [](const EvalSample* one) { return is_right(*one); })) /
         static_cast<double>(samples.size());
}

}  // namespace

std::vector<TaskSummary> summarise(std::span<const EvalSample> samples) {
  std::vector<TaskSummary> summaries;
  for (const std::string& task : tasks_of(samples)) {
    TaskSummary summary;
    summary.task = task;
    if (const SamplesOfProblems greedy = samples_of(samples, task, true); !greedy.empty())
      summary.greedy = greedy_summary(greedy);
    if (const SamplesOfProblems sampled = samples_of(samples, task, false); !sampled.empty())
      summary.sampled = sampled_summary(sampled);
    summaries.push_back(std::move(summary));
  }
  return summaries;
}

OrderedJson summary_json(std::span<const TaskSummary> tasks) {
  OrderedJson list = OrderedJson::array();
  for (const TaskSummary& task : tasks) {
    OrderedJson json = {{"task", task.task}};
    if (task.greedy)
      json["greedy"] = {{"problems", task.greedy->problems},
                        {"pass@1", estimate_json(task.greedy->accuracy)},
                        {"format", task.greedy->format},
                        {"tokens", task.greedy->tokens},
                        {"truncated", task.greedy->truncated}};
    if (task.sampled) {
      OrderedJson sampled = {{"problems", task.sampled->problems}, {"samples", task.sampled->samples}};
      for (const auto& at : task.sampled->at) {
        sampled[fmt::format("pass@{}", at.k)] = estimate_json(at.pass);
        sampled[fmt::format("maj@{}", at.k)] = estimate_json(at.majority);
      }
      sampled["format"] = task.sampled->format;
      sampled["tokens"] = task.sampled->tokens;
      sampled["truncated"] = task.sampled->truncated;
      json["sampled"] = std::move(sampled);
    }
    list.push_back(std::move(json));
  }
  return list;
}

std::string summary_table(std::span<const TaskSummary> tasks) {
  std::vector<TableRow> rows = {
      {"task", "answers", "figure", "95 %", "problems", "tokens", "format", "truncated"}};
  const auto add = [&](const std::string& task, const std::string& kind, const std::string& figure,
                       const Estimate& estimate, std::int64_t problems, const auto& means) {
    rows.push_back({task, kind, figure, percent_with_interval(estimate), std::to_string(problems),
                    fmt::format("{:.1f}", means.tokens), fmt::format("{:.1f} %", 100 * means.format),
                    fmt::format("{:.1f} %", 100 * means.truncated)});
  };
  for (const TaskSummary& task : tasks) {
    if (task.greedy)
      add(task.task, "greedy", "pass@1", task.greedy->accuracy, task.greedy->problems, *task.greedy);
    if (!task.sampled) continue;
    for (const auto& at : task.sampled->at) {
      add(task.task, "sampled", fmt::format("pass@{}", at.k), at.pass, task.sampled->problems, *task.sampled);
      if (at.k > 1)
        add(task.task, "sampled", fmt::format("maj@{}", at.k), at.majority, task.sampled->problems,
            *task.sampled);
    }
  }
  return text_table(rows, 4);
}

std::vector<PairedDifference> paired_differences(const EvalRecord& first, const EvalRecord& second) {
  std::vector<PairedDifference> pairs;
  for (const std::string& task : tasks_of(first.samples))
    for (const bool is_greedy : {true, false}) {
      const SamplesOfProblems before = samples_of(first.samples, task, is_greedy);
      const SamplesOfProblems after = samples_of(second.samples, task, is_greedy);
      PairedDifference pair;
      pair.task = task;
      pair.is_greedy = is_greedy;
      std::vector<double> differences;
      for (const auto& [index, samples] : before) {
        const auto other = after.find(index);
        // The same index with another seed or split is another problem.
        if (other == after.end() || other->second.front()->id != samples.front()->id) continue;
        differences.push_back(part_right(other->second) - part_right(samples));
        const bool was_right = is_right(*samples.front());
        const bool is_right_now = is_right(*other->second.front());
        if (was_right != is_right_now)
          (is_right_now ? pair.gained : pair.lost).push_back({samples.front(), other->second.front()});
      }
      pair.problems = std::ssize(differences);
      pair.difference = bootstrap_mean(differences);
      if (pair.problems > 0) pairs.push_back(std::move(pair));
    }
  return pairs;
}

}  // namespace fathom
