#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "plan/schedule_comparison.h"
#include "plan/text_table.h"

namespace fathom {

/// A row for each schedule that exists: ranks, stages, makespan, bubble beside its closed form, idle part,
/// chunks in flight, parameters.
std::vector<TableRow> schedule_rows(std::span<const ComparedSchedule> schedules);
/// A row for each rank: time computing and idle, chunks in flight, weight gradients that wait.
std::vector<TableRow> rank_rows(const SimulatedStep& step);
/// What the columns of both mean, in one paragraph.
std::string_view schedule_notes();

/// The tables as lines of text: every rank of a schedule that is alone, why others do not exist.
std::string schedules_text(std::span<const ComparedSchedule> schedules);
/// The same for programs.
OrderedJson schedules_json(std::span<const ComparedSchedule> schedules);
/// The same as a page that needs no network, with the picture of plan/schedule_chart.h.
std::string schedules_page(std::span<const ComparedSchedule> schedules);

}  // namespace fathom
