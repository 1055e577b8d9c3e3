#include "infer/speculation_report.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <utility>

namespace fathom {

std::string speculation_report_text(const SpeculationStats& stats) {
  std::string places;
  for (const SpeculationStats::Place& place : stats.places)
    places += fmt::format("{}{:.0f} %", places.empty() ? " (by place " : ", ",
                          100.0 * static_cast<double>(place.accepted) / static_cast<double>(place.offered));
  if (!places.empty()) places += ")";
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
