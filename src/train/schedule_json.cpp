#include <fmt/core.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/json_excerpt.h"
#include "train/schedule.h"

namespace fathom {
namespace {

constexpr std::string_view kSegmentKeys = "\"value\", or \"to\" with \"from\" and \"shape\"; and \"until\"";

double number_from_json(const Json& value, double least, double most, std::string_view name,
                        std::string_view where) {
  require(value.is_number(), "{}: {} must be a number, not {}", where, name, excerpt(value));
  const auto number = value.get<double>();
  require(number >= least && number <= most, "{}: {} is {}, it must be from {} to {}", where, name, number,
          least, most);
  return number;
}

/// @param before  the value that the segment before ended with, if there is one
ScheduleSegment segment_from_json(const Json& json, std::optional<double> before, double least, double most,
                                  const std::string& name, std::string_view where) {
  require(json.is_object(), "{}: {} must be an object of {}, not {}", where, name, kSegmentKeys,
          excerpt(json));
  for (const auto& [key, value] : json.items())
    require(key == "value" || key == "from" || key == "to" || key == "shape" || key == "until",
            "{}: {} has an unknown key \"{}\": a segment has {}", where, name, printable(key), kSegmentKeys);
  ScheduleSegment segment;
  if (json.contains("until"))
    segment.until = run_position_from_json(json.at("until"), name + ".until", where);
  if (json.contains("value")) {
    require(!json.contains("from") && !json.contains("to") && !json.contains("shape"),
            "{}: {} has both \"value\", which is for always the same one, and \"from\", \"to\" or \"shape\"",
            where, name);
    segment.from = segment.to = number_from_json(json.at("value"), least, most, name + ".value", where);
    return segment;
  }
  require(json.contains("to"), "{}: {} has neither \"value\" nor \"to\"", where, name);
  segment.to = number_from_json(json.at("to"), least, most, name + ".to", where);
  if (json.contains("from")) {
    segment.from = number_from_json(json.at("from"), least, most, name + ".from", where);
  } else {
    require(before.has_value(), "{}: {} is the first and needs \"from\"", where, name);
    segment.from = *before;
  }
  if (json.contains("shape")) {
    const Json& shape = json.at("shape");
    require(shape == "linear" || shape == "cosine", "{}: {}.shape must be \"linear\" or \"cosine\", not {}",
            where, name, excerpt(shape));
    if (shape == "cosine") segment.shape = ScheduleSegment::Shape::cosine;
  }
  return segment;
}

OrderedJson segment_to_json(const ScheduleSegment& segment) {
  OrderedJson json;
  if (segment.from == segment.to) {
    json["value"] = segment.to;
  } else {
    json["from"] = segment.from;
    json["to"] = segment.to;
    if (segment.shape == ScheduleSegment::Shape::cosine) json["shape"] = "cosine";
  }
  if (segment.until) json["until"] = run_position_to_json(*segment.until);
  return json;
}

}  // namespace

RunPosition run_position_from_json(const Json& value, std::string_view name, std::string_view where) {
  constexpr double kMostSteps = 9e15;
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    double percent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percent);
    require(error == std::errc() && std::string_view(end, text.data() + text.size()) == "%" && percent >= 0 &&
                percent <= 100,
            "{}: {} is {}: a part of the run's tokens is written as \"67.6%\"", where, name, excerpt(value));
    return {.token_percent = percent};
  }
  const double steps = value.is_number() ? value.get<double>() : -1;
  require(steps >= 0 && steps <= kMostSteps && steps == std::floor(steps),
          "{}: {} must be a number of steps, or a part of the run's tokens as \"67.6%\", not {}", where, name,
          excerpt(value));
  return {.steps = static_cast<std::int64_t>(steps)};
}

OrderedJson run_position_to_json(const RunPosition& position) {
  if (!position.token_percent) return position.steps;
  return fmt::format("{}%", *position.token_percent);
}

Schedule schedule_from_json(const Json& value, double least, double most, std::string_view name,
                            std::string_view where) {
  if (!value.is_array()) return {number_from_json(value, least, most, name, where)};
  require(!value.empty(), "{}: {} is an empty list: give a number, or segments of {}", where, name,
          kSegmentKeys);
  std::vector<ScheduleSegment> segments;
  std::optional<double> before;
  double percent = 0;  // where the last segment ended that ends at a part of the tokens
  for (const Json& json : value) {
    const std::string segment = fmt::format("{}[{}]", name, segments.size());
    segments.push_back(segment_from_json(json, before, least, most, segment, where));
    before = segments.back().to;
    const std::optional<RunPosition>& until = segments.back().until;
    require(until.has_value() || segments.size() == value.size(),
            "{}: {} needs \"until\": only the last segment lasts to the end of the run", where, segment);
    if (!until || !until->token_percent) continue;
    // A short run's steps can hide it.
    require(*until->token_percent >= percent, "{}: {} ends at {}%, one before it at {}%", where, segment,
            *until->token_percent, percent);
    percent = *until->token_percent;
  }
  return Schedule(std::move(segments));
}

OrderedJson schedule_to_json(const Schedule& schedule) {
  if (schedule.is_constant() && !schedule.segments().front().until) return schedule.first();
  OrderedJson list = OrderedJson::array();
  for (const ScheduleSegment& segment : schedule.segments()) list.push_back(segment_to_json(segment));
  return list;
}

}  // namespace fathom
