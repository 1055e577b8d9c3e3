#include "infer/speculation_report.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <utility>

namespace fathom {

std::string accepted_by_place(const SpeculationStats& stats, std::string_view unit,
                              std::string_view between) {
  std::string text;
  for (const SpeculationStats::Place& place : stats.places)
    text +=
        fmt::format("{}{:.0f}{}", text.empty() ? "" : between,
                    100.0 * static_cast<double>(place.accepted) / static_cast<double>(place.offered), unit);
  return text;
}

std::string speculation_report_text(const SpeculationStats& stats) {
  std::string places;
  if (!stats.places.empty()) places = fmt::format(" (by place {})", accepted_by_place(stats, " %", ", "));
  return fmt::format("drafts {}, {} checked, {} accepted{}; {:.2f} tokens a pass", stats.drafted,
                     stats.checked, stats.accepted, places, stats.tokens_per_pass());
}

OrderedJson speculation_report_json(const SpeculationStats& stats) {
  OrderedJson places = OrderedJson::array();
  for (const SpeculationStats::Place& place : stats.places)
    places.push_back({{"offered", place.offered}, {"accepted", place.accepted}});
  return {{"passes", stats.passes},      {"drafted", stats.drafted},
          {"checked", stats.checked},    {"accepted", stats.accepted},
          {"places", std::move(places)}, {"tokens_per_pass", stats.tokens_per_pass()}};
}

}  // namespace fathom
