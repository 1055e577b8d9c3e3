#include "plan/schedule_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "plan/html_page.h"
#include "plan/schedule_chart.h"

namespace fathom {
namespace {

std::int64_t rank_load(const SimulatedStep& step, bool most) {
  const auto [least_rank, most_rank] = std::ranges::minmax_element(step.loads, {}, &RankLoad::in_flight);
  return (most ? most_rank : least_rank)->in_flight;
}

/// "1 to 8", or "9" where all ranks are alike.
std::string in_flight_text(const SimulatedStep& step) {
  const std::int64_t least = rank_load(step, false);
  const std::int64_t most = rank_load(step, true);
  return least == most ? fmt::format("{}", most) : fmt::format("{} to {}", least, most);
}

/// The most activations that a rank holds: 1 is those of one micro-batch in the whole model.
double activations(const SimulatedStep& step) {
  return static_cast<double>(rank_load(step, true)) / step.shape.stages;
}

std::string time_text(double time) {
  return fmt::format("{:.6g}", time);
}

std::string formula_text(const SimulatedStep& step) {
  const BubbleFormula formula = bubble_formula(step.shape, step.times);
  return fmt::format("{} {} {}", formula.text, formula.exact ? "=" : "≈", time_text(formula.value));
}

OrderedJson step_json(const SimulatedStep& step) {
  const BubbleFormula formula = bubble_formula(step.shape, step.times);
  OrderedJson ranks = OrderedJson::array();
  for (std::size_t rank = 0; rank < step.loads.size(); ++rank)
    ranks.push_back({{"busy", step.busy[rank]},
                     {"idle", step.idle(rank)},
                     {"in_flight", step.loads[rank].in_flight},
                     {"waiting_weight_gradients", step.loads[rank].waiting_weights}});
  return {{"ranks", step.shape.ranks()},
          {"stages", step.shape.stages},
          {"stages_per_rank", step.shape.slots()},
          {"micro_batches", step.shape.micro_batches},
          {"times",
           {{"forward", step.times.forward},
            {"backward", step.times.backward},
            {"weight", step.times.weight},
            {"overlapped", step.times.forward_backward},
            {"communication", step.times.communication}}},
          {"makespan", step.makespan},
          {"bubble", step.bubble()},
          {"closed_form", {{"text", formula.text}, {"value", formula.value}, {"holds", formula.exact}}},
          {"idle_fraction", step.idle_fraction()},
          {"most_in_flight", rank_load(step, true)},
          {"activations", activations(step)},
          {"parameters", static_cast<double>(step.shape.slots()) / step.shape.stages},
          {"by_rank", ranks}};
}

/// The step, where there is only one schedule.
const SimulatedStep* only_step(std::span<const ComparedSchedule> schedules) {
  return schedules.size() == 1 && schedules.front().step ? &*schedules.front().step : nullptr;
}

}  // namespace

std::vector<TableRow> schedule_rows(std::span<const ComparedSchedule> schedules) {
  std::vector<TableRow> rows = {{"schedule", "closed form", "ranks", "stages", "makespan", "bubble", "idle",
                                 "in flight", "activations", "parameters"}};
  for (const ComparedSchedule& one : schedules) {
    if (!one.step) continue;
    const SimulatedStep& step = *one.step;
    rows.push_back({std::string(pipeline_kind_title(one.kind)), formula_text(step),
                    fmt::format("{}", step.shape.ranks()), fmt::format("{}", step.shape.stages),
                    time_text(step.makespan), time_text(step.bubble()),
                    fmt::format("{:.1f} %", 100 * step.idle_fraction()), in_flight_text(step),
                    fmt::format("{:.3f}", activations(step)),
                    fmt::format("{}× 1/{}", step.shape.slots(), step.shape.stages)});
  }
  return rows;
}

std::vector<TableRow> rank_rows(const SimulatedStep& step) {
  std::vector<TableRow> rows = {{"rank", "computing", "idle", "in flight", "W waiting"}};
  for (std::size_t rank = 0; rank < step.loads.size(); ++rank)
    rows.push_back({fmt::format("{}", rank), time_text(step.busy[rank]), time_text(step.idle(rank)),
                    fmt::format("{}", step.loads[rank].in_flight),
                    fmt::format("{}", step.loads[rank].waiting_weights)});
  return rows;
}

std::string_view schedule_notes() {
  return "bubble: the largest idle time of a rank, simulated; the closed form gives it exactly (=) or about "
         "(≈).\n"
         "in flight: most chunks, a chunk being one micro-batch on one stage, that a rank holds at once;\n"
         "activations: the same, 1 being those of one micro-batch in the whole model;\n"
         "parameters: stages that a rank holds, as parts of the model.\n";
}

std::string schedules_text(std::span<const ComparedSchedule> schedules) {
  std::string text = text_table(schedule_rows(schedules), 2);
  for (const ComparedSchedule& one : schedules)
    if (!one.step) text += fmt::format("  no {}\n", one.refusal);
  if (const SimulatedStep* step = only_step(schedules)) text += "\n" + text_table(rank_rows(*step), 0);
  return text + "\n" + std::string(schedule_notes());
}

OrderedJson schedules_json(std::span<const ComparedSchedule> schedules) {
  OrderedJson list = OrderedJson::array();
  for (const ComparedSchedule& one : schedules) {
    OrderedJson entry = {{"schedule", pipeline_kind_name(one.kind)}};
    if (one.step) {
      entry.update(step_json(*one.step));
    } else {
      entry["refusal"] = one.refusal;
    }
    list.push_back(entry);
  }
  return list;
}

std::string schedules_page(std::span<const ComparedSchedule> schedules) {
  HtmlPage page(schedules.size() == 1 ? std::string(pipeline_kind_title(schedules.front().kind))
                                      : "Pipeline schedules");
  page.add_table(schedule_rows(schedules), 2);
  for (const ComparedSchedule& one : schedules)
    if (!one.step) page.add_paragraph("No " + one.refusal + ".");
  page.add_picture(schedules_svg(schedules));
  if (const SimulatedStep* step = only_step(schedules)) page.add_table(rank_rows(*step), 0);
  page.add_paragraph(schedule_notes());
  return page.text();
}

}  // namespace fathom
