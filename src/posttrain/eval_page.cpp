#include "posttrain/eval_page.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "plan/html_page.h"
#include "posttrain/estimate_chart.h"
#include "posttrain/eval_summary.h"

namespace fathom {
namespace {

constexpr std::size_t kMostChanges = 100;  // of a pair that are shown, each way

std::string percent(double part) {
  return fmt::format("{:.1f} %", 100 * part);
}

std::string interval(const Estimate& estimate, const char* format) {
  return fmt::format(fmt::runtime(format), 100 * estimate.low, 100 * estimate.high);
}

/// The beginning of a text, on one line.
std::string beginning(const std::string& text, std::size_t bytes) {
  std::string line = text.substr(0, bytes);
  // Not in the middle of a character.
  while (line.size() < text.size() && !line.empty() &&
         (static_cast<unsigned char>(text[line.size()]) & 0xC0U) == 0x80U)
    line.pop_back();
  std::ranges::replace(line, '\n', ' ');
  return line.size() < text.size() ? line + " …" : line;
}

void add_settings(HtmlPage& page, std::span<const NamedRecord> evaluations) {
  std::vector<TitledRows> tables;
  for (const NamedRecord& one : evaluations) {
    const EvalSettings& settings = one.record.settings;
    tables.push_back(
        {one.name,
         {{"model", settings.model},
          {"problems", fmt::format("{}, seed {}", settings.split, settings.seed)},
          {"prompt", settings.prefix.empty() ? settings.format : settings.format + ", " + settings.prefix},
          {"samples", fmt::format("temperature {:g}, top-p {:g}", settings.temperature, settings.top_p)},
          {"tokens",
           fmt::format(
               "{} at most{}", settings.max_tokens,
               settings.think_tokens > 0 ? fmt::format(", of thinking {}", settings.think_tokens) : "")},
          {"answers", fmt::format("{}", one.record.samples.size())}}});
  }
  page.add_facts(tables);
}

struct Figures {
  std::vector<TableRow> rows = {
      {"task", "evaluation", "figure", "value", "95 %", "problems", "tokens", "format", "truncated"}};
  std::vector<ChartEstimate> intervals;
  std::vector<ChartEstimate> lengths;

  void add(const std::string& name, const TaskSummary& task) {
    if (task.greedy)
      add(name, task.task, "greedy pass@1", task.greedy->accuracy, task.greedy->problems, *task.greedy);
    if (task.sampled)
      for (const auto& at : task.sampled->at) {
        add(name, task.task, fmt::format("pass@{}", at.k), at.pass, task.sampled->problems, *task.sampled);
        if (at.k > 1)
          add(name, task.task, fmt::format("maj@{}", at.k), at.majority, task.sampled->problems,
              *task.sampled);
      }
    lengths.push_back({task.task, name, task.pass_at_1(), task.tokens()});
  }

 private:
  template <typename Means>
  void add(const std::string& name, const std::string& task, const std::string& figure,
           const Estimate& estimate, std::int64_t problems, const Means& means) {
    rows.push_back({task, name, figure, percent(estimate.value), interval(estimate, "{:.1f} to {:.1f}"),
                    std::to_string(problems), fmt::format("{:.1f}", means.tokens), percent(means.format),
                    percent(means.truncated)});
    intervals.push_back({task + ", " + figure, name, estimate});
  }
};

void add_changes(HtmlPage& page, const std::string& title,
                 const std::vector<PairedDifference::Change>& changes) {
  if (changes.empty()) return;
  page.add_heading(fmt::format("{}: {}", title, changes.size()));
  if (changes.size() > kMostChanges) page.add_paragraph(fmt::format("The first {} of them.", kMostChanges));
  std::vector<TableRow> rows = {{"problem", "question", "right is", "before", "after"}};
  for (std::size_t i = 0; i < std::min(changes.size(), kMostChanges); ++i) {
    const auto& [before, after] = changes[i];
    const auto answer = [](const EvalSample& sample) {
      return sample.reward.extracted.empty() ? "no answer" : beginning(sample.reward.extracted, 40);
    };
    rows.push_back({std::to_string(before->index), beginning(before->question, 90),
                    beginning(before->reference, 40), answer(*before), answer(*after)});
  }
  page.add_table(rows, rows.front().size());
}

void add_difference(HtmlPage& page, const NamedRecord& first, const NamedRecord& second) {
  const std::vector<PairedDifference> pairs = paired_differences(first.record, second.record);
  page.add_heading(fmt::format("{} against {}", second.name, first.name));
  if (pairs.empty()) {
    page.add_paragraph("They have no problems in common.");
    return;
  }
  std::vector<TableRow> rows = {
      {"task", "answers", "difference", "95 %", "problems", "became right", "became wrong"}};
  for (const PairedDifference& pair : pairs)
    rows.push_back({pair.task, pair.is_greedy ? "greedy" : "sampled",
                    fmt::format("{:+.1f} points", 100 * pair.difference.value),
                    interval(pair.difference, "{:+.1f} to {:+.1f}"), std::to_string(pair.problems),
                    std::to_string(pair.gained.size()), std::to_string(pair.lost.size())});
  page.add_table(rows, 2);
  for (const PairedDifference& pair : pairs) {
    const std::string kind = pair.task + (pair.is_greedy ? ", greedy" : ", first samples");
    add_changes(page, kind + ", became right", pair.gained);
    add_changes(page, kind + ", became wrong", pair.lost);
  }
}

}  // namespace

std::string eval_page(std::span<const NamedRecord> evaluations) {
  HtmlPage page("Evaluations");
  add_settings(page, evaluations);
  Figures figures;
  for (const NamedRecord& one : evaluations)
    for (const TaskSummary& task : summarise(one.record.samples)) figures.add(one.name, task);
  std::ranges::stable_sort(figures.rows.begin() + 1, figures.rows.end(), {},
                           [](const TableRow& row) { return row[0]; });
  page.add_heading("Accuracy");
  page.add_picture(interval_chart_svg(figures.intervals));
  page.add_table(figures.rows, 3);
  page.add_paragraph(
      "Intervals hold 95 %: Wilson's score interval for greedy answers, else the percentiles of a bootstrap "
      "over problems.");
  page.add_heading("Accuracy of one answer against its length");
  page.add_picture(length_chart_svg(figures.lengths));
  for (const NamedRecord& one : evaluations.subspan(1)) add_difference(page, evaluations.front(), one);
  if (evaluations.size() > 1)
    page.add_paragraph(
        "Differences are of mean accuracy on the problems that both answered, in percentage points, with a "
        "bootstrap over "
        "those problems. An interval without 0 is a difference that other problems would hardly have "
        "hidden.");
  return page.text();
}

}  // namespace fathom
