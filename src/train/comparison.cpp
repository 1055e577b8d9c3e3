#include "train/comparison.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/progress.h"

namespace fathom {
namespace {

/// Steps over which a run's last training loss is averaged.
std::int64_t recent_steps(const RunRecord& run) {
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(run.loss.size()) / 20);
}

double percent_over(double value, double base) {
  return 100.0 * (value / base - 1.0);
}

/// What one row of table and JSON says.
struct Row {
  double loss;
  std::optional<double> loss_difference;  // percent; none for the first run
  std::optional<double> held_out;
  std::optional<double> held_out_difference;
  std::optional<double> bits_per_byte;
  std::optional<double> max_vio;        // global, on held-out text
  std::optional<double> batch_max_vio;  // mean over the last steps
  std::optional<double> draft_acceptance;
};

Row row_of(const RunRecord& run, const RunRecord& first) {
  Row row{};
  row.loss = run.recent_loss(recent_steps(run));
  const bool is_first = &run == &first;
  if (!is_first) row.loss_difference = percent_over(row.loss, first.recent_loss(recent_steps(first)));
  if (run.last_evaluation) {
    const EvalMetrics& last = *run.last_evaluation;
    row.held_out = last.loss;
    if (std::isfinite(last.bits_per_byte)) row.bits_per_byte = last.bits_per_byte;
    row.max_vio = last.max_vio;
    if (!last.draft_acceptance.empty()) row.draft_acceptance = last.draft_acceptance.front();
    if (!is_first && first.last_evaluation)
      row.held_out_difference = percent_over(last.loss, first.last_evaluation->loss);
  }
  if (!run.max_vio.empty()) {
    const auto count = std::min<std::size_t>(run.max_vio.size(), static_cast<std::size_t>(recent_steps(run)));
    double sum = 0;
    for (std::size_t i = run.max_vio.size() - count; i < run.max_vio.size(); ++i) sum += run.max_vio[i].y;
    row.batch_max_vio = sum / static_cast<double>(count);
  }
  return row;
}

/// The last held-out loss of a source; none where the run has no such source.
std::optional<double> source_loss(const RunRecord& run, const std::string& source) {
  if (!run.last_evaluation) return std::nullopt;
  for (const SourceLoss& one : run.last_evaluation->source_loss)
    if (one.source == source) return one.loss;
  return std::nullopt;
}

/// Percent over the first run's; none for the first run, and where it has no such source.
std::optional<double> source_loss_difference(const RunRecord& run, const RunRecord& first,
                                             const std::string& source) {
  const std::optional<double> loss = source_loss(run, source);
  const std::optional<double> base = source_loss(first, source);
  if (&run == &first || !loss || !base) return std::nullopt;
  return percent_over(*loss, *base);
}

/// Of all runs, in the order in which they come up.
std::vector<std::string> source_names(std::span<const RunRecord> runs) {
  std::vector<std::string> names;
  for (const RunRecord& run : runs) {
    if (!run.last_evaluation) continue;
    for (const SourceLoss& one : run.last_evaluation->source_loss)
      if (std::find(names.begin(), names.end(), one.source) == names.end()) names.push_back(one.source);
  }
  return names;
}

std::string cell(const std::optional<double>& value, int digits, bool with_sign = false) {
  if (!value) return "-";
  return with_sign ? fmt::format("{:+.{}f}", *value, digits) : fmt::format("{:.{}f}", *value, digits);
}

/// A row for each source of any run, a pair of columns for each run; empty where no run has several sources.
std::string source_table(std::span<const RunRecord> runs) {
  const std::vector<std::string> names = source_names(runs);
  if (names.empty()) return {};
  constexpr std::string_view kTitle = "held-out loss";
  std::size_t width = kTitle.size();
  for (const std::string& name : names) width = std::max(width, printable(name).size());
  std::string text = fmt::format("\n{:<{}}", kTitle, width);
  for (const RunRecord& run : runs)
    text += fmt::format("  {:>9} {:>8}", run.name, &run == &runs[0] ? "" : "± %");
  for (const std::string& name : names) {
    text += fmt::format("\n{:<{}}", printable(name), width);
    for (const RunRecord& run : runs)
      text += fmt::format("  {:>{}} {:>8}", cell(source_loss(run, name), 4),
                          std::max<std::size_t>(9, run.name.size()),
                          &run == &runs[0] ? "" : cell(source_loss_difference(run, runs[0], name), 3, true));
  }
  return text + "\n";
}

/// A chart of one curve of each run; lines keep their runs' places, and so their colours.
template <typename CurveOf>
void add_chart(std::span<const RunRecord> runs, std::string title, bool zero_line, const CurveOf& curve_of,
               std::vector<LineChart>& charts) {
  LineChart chart{std::move(title), {}, zero_line};
  bool any = false;
  for (const RunRecord& run : runs) {
    chart.lines.push_back({run.name, curve_of(run)});
    any = any || chart.lines.back().points.size() > 1;
  }
  if (any) charts.push_back(std::move(chart));
}

}  // namespace

double RunRecord::recent_loss(std::int64_t steps) const {
  const std::size_t count = std::min(loss.size(), static_cast<std::size_t>(steps));
  double sum = 0;
  for (std::size_t i = loss.size() - count; i < loss.size(); ++i) sum += loss[i].y;
  return sum / static_cast<double>(count);
}

RunRecord read_run(const std::filesystem::path& run, std::string name) {
  const std::filesystem::path file = run / "metrics.jsonl";
  require(std::filesystem::is_regular_file(file),
          "{}: no metrics.jsonl in it: is it a folder that `fathom train` made?", run.string());
  RunRecord record;
  record.name = std::move(name);
  std::vector<double> speeds;
  read_metrics(
      file,
      [&](const StepMetrics& step) {
        const auto x = static_cast<double>(step.step);
        record.loss.push_back({x, step.loss});
        if (step.max_vio) record.max_vio.push_back({x, *step.max_vio});
        if (std::isfinite(step.tokens_per_second)) speeds.push_back(step.tokens_per_second);
        record.last_step = step;
      },
      [&](const EvalMetrics& evaluation) {
        const auto x = static_cast<double>(evaluation.step);
        record.held_out.push_back({x, evaluation.loss});
        if (!evaluation.draft_acceptance.empty())
          record.draft_acceptance.push_back({x, 100.0 * evaluation.draft_acceptance.front()});
        record.last_evaluation = evaluation;
      });
  require(!record.loss.empty(), "{}: it has no step yet", file.string());
  if (speeds.empty()) return record;
  const auto middle = speeds.begin() + static_cast<std::ptrdiff_t>(speeds.size() / 2);
  std::nth_element(speeds.begin(), middle, speeds.end());
  record.tokens_per_second = *middle;
  return record;
}

std::vector<ChartPoint> smoothed(std::span<const ChartPoint> points, std::int64_t reach) {
  std::vector<double> sums(points.size() + 1, 0.0);
  for (std::size_t i = 0; i < points.size(); ++i) sums[i + 1] = sums[i] + points[i].y;
  std::vector<ChartPoint> result;
  result.reserve(points.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t side = std::min({static_cast<std::size_t>(reach), i, points.size() - 1 - i});
    result.push_back(
        {points[i].x, (sums[i + side + 1] - sums[i - side]) / static_cast<double>(2 * side + 1)});
  }
  return result;
}

std::vector<ChartPoint> relative_difference(std::span<const ChartPoint> a, std::span<const ChartPoint> b) {
  std::vector<ChartPoint> result;
  std::size_t j = 0;
  for (const ChartPoint& point : a) {
    while (j < b.size() && b[j].x < point.x) ++j;
    if (j < b.size() && b[j].x == point.x) result.push_back({point.x, percent_over(point.y, b[j].y)});
  }
  return result;
}

std::vector<LineChart> comparison_charts(std::span<const RunRecord> runs) {
  const auto reach = static_cast<std::int64_t>(runs.front().loss.size()) / 100;
  std::vector<LineChart> charts;
  add_chart(
      runs, "Training loss, nats per token", false,
      [&](const RunRecord& run) { return smoothed(run.loss, reach); }, charts);
  if (runs.size() > 1) {
    const std::vector<ChartPoint> base = smoothed(runs.front().loss, reach);
    add_chart(
        runs, fmt::format("Training loss over that of \"{}\", percent", runs.front().name), true,
        [&](const RunRecord& run) { return relative_difference(smoothed(run.loss, reach), base); }, charts);
  }
  add_chart(
      runs, "MaxVio of the batch, mean over layers", true,
      [&](const RunRecord& run) { return smoothed(run.max_vio, reach); }, charts);
  add_chart(
      runs, "Held-out loss, nats per token", false, [](const RunRecord& run) { return run.held_out; },
      charts);
  add_chart(
      runs, "MTP drafts accepted on held-out text, percent", false,
      [](const RunRecord& run) { return run.draft_acceptance; }, charts);
  return charts;
}

std::string comparison_table(std::span<const RunRecord> runs) {
  std::size_t width = 3;
  for (const RunRecord& run : runs) width = std::max(width, run.name.size());
  std::string text = fmt::format(
      "{:<{}} {:>8} {:>13} {:>8} {:>8} {:>9} {:>8} {:>7} {:>7} {:>7} {:>7} {:>8}\n", "run", width, "steps",
      "tokens", "loss", "± %", "held-out", "± %", "bpb", "MaxVio", "batch", "drafts", "tok/s");
  for (const RunRecord& run : runs) {
    const Row row = row_of(run, runs.front());
    text += fmt::format(
        "{:<{}} {:>8} {:>13} {:>8.4f} {:>8} {:>9} {:>8} {:>7} {:>7} {:>7} {:>7} {:>8}\n", run.name, width,
        run.last_step.step, format_count(static_cast<std::uint64_t>(run.last_step.tokens)), row.loss,
        cell(row.loss_difference, 3, true), cell(row.held_out, 4), cell(row.held_out_difference, 3, true),
        cell(row.bits_per_byte, 4), cell(row.max_vio, 3), cell(row.batch_max_vio, 3),
        row.draft_acceptance ? fmt::format("{:.1f} %", 100.0 * *row.draft_acceptance) : "-",
        run.tokens_per_second ? format_count(static_cast<std::uint64_t>(std::llround(*run.tokens_per_second)))
                              : "-");
  }
  return text + source_table(runs);
}

OrderedJson comparison_json(std::span<const RunRecord> runs) {
  const auto number = [](const std::optional<double>& value) {
    return value ? OrderedJson(*value) : OrderedJson();
  };
  OrderedJson list = OrderedJson::array();
  for (const RunRecord& run : runs) {
    const Row row = row_of(run, runs.front());
    OrderedJson sources = OrderedJson::array();
    if (run.last_evaluation)
      for (const SourceLoss& one : run.last_evaluation->source_loss)
        sources.push_back(
            {{"source", one.source},
             {"loss", one.loss},
             {"loss_difference_percent", number(source_loss_difference(run, runs.front(), one.source))}});
    list.push_back({{"name", run.name},
                    {"steps", run.last_step.step},
                    {"tokens", run.last_step.tokens},
                    {"loss", row.loss},
                    {"loss_difference_percent", number(row.loss_difference)},
                    {"held_out_loss", number(row.held_out)},
                    {"held_out_loss_difference_percent", number(row.held_out_difference)},
                    {"held_out_source_loss", sources},
                    {"bits_per_byte", number(row.bits_per_byte)},
                    {"held_out_max_vio", number(row.max_vio)},
                    {"batch_max_vio", number(row.batch_max_vio)},
                    {"draft_acceptance", number(row.draft_acceptance)},
                    {"tokens_per_second", number(run.tokens_per_second)}});
  }
  return list;
}

}  // namespace fathom
