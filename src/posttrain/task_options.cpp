#include "posttrain/task_options.h"

#include <fmt/core.h>

#include <charconv>

#include "base/error.h"
#include "base/nearest_name.h"

namespace fathom {
namespace {

bool is_option_key(std::string_view text) {
  return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") == std::string_view::npos;
}

/// Where the option that begins at the start of `text` ends: at a comma before another "key=".
std::size_t end_of_option(std::string_view text) {
  for (std::size_t comma = text.find(','); comma != std::string_view::npos;
       comma = text.find(',', comma + 1)) {
    const std::size_t equals = text.find('=', comma);
    if (equals != std::string_view::npos && is_option_key(text.substr(comma + 1, equals - comma - 1)))
      return comma;
  }
  return text.size();
}

}  // namespace

TaskOptions::TaskOptions(std::string_view spec) : task_(spec.substr(0, spec.find(':'))) {
  std::string_view rest = task_.size() < spec.size() ? spec.substr(task_.size() + 1) : std::string_view();
  while (!rest.empty()) {
    const std::size_t end = end_of_option(rest);
    const std::string_view option = rest.substr(0, end);
    rest.remove_prefix(std::min(rest.size(), end + 1));
    const std::size_t equals = option.find('=');
    if (equals == std::string_view::npos)
      throw UsageError(fmt::format("task {}: \"{}\" has no value: write it as TASK:key=value,key=value",
                                   printable(task_), printable(option)));
    if (!given_.emplace(option.substr(0, equals), option.substr(equals + 1)).second)
      throw UsageError(
          fmt::format("task {}: {} is given twice", printable(task_), printable(option.substr(0, equals))));
  }
}

void TaskOptions::allow(std::span<const TaskOption> options) {
  std::vector<std::string_view> keys;
  for (const TaskOption& option : options) {
    keys.push_back(option.key);
    values_[std::string(option.key)] = std::string(option.standard);
  }
  for (const auto& [key, value] : given_) {
    const auto place = values_.find(key);
    if (place == values_.end()) {
      const std::string_view nearest = nearest_name(key, keys);
      throw UsageError(fmt::format("task {}: there is no option \"{}\"{}", task_, printable(key),
                                   nearest.empty()
                                       ? fmt::format(": `fathom task --list` names those there are")
                                       : fmt::format(": did you mean {}?", nearest)));
    }
    place->second = value;
  }
}

std::int64_t TaskOptions::integer(std::string_view key, std::int64_t least, std::int64_t most) const {
  const std::string& value = text(key);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < least || number > most)
    refuse(key, fmt::format("a whole number from {} to {}", least, most));
  return number;
}

bool TaskOptions::flag(std::string_view key) const {
  static constexpr std::string_view kChoices[] = {"no", "yes"};
  return choice(key, kChoices) == 1;
}

std::size_t TaskOptions::choice(std::string_view key, std::span<const std::string_view> choices) const {
  std::string names;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (text(key) == choices[i]) return i;
    names += fmt::format("{}{}", i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ", choices[i]);
  }
  refuse(key, names);
}

const std::string& TaskOptions::text(std::string_view key) const {
  const auto place = values_.find(key);
  require(place != values_.end(), "task {}: its option {} is not in its list", task_, key);
  return place->second;
}

const std::string& TaskOptions::needed_text(std::string_view key) const {
  if (text(key).empty())
    throw UsageError(fmt::format("task {}: needs {}: write it as {}:{}=...", task_, key, task_, key));
  return text(key);
}

std::string TaskOptions::name() const {
  std::string name = task_;
  for (const auto& [key, value] : given_)
    name += fmt::format("{}{}={}", name == task_ ? ":" : ",", key, value);
  return name;
}

void TaskOptions::refuse(std::string_view key, std::string_view wanted) const {
  throw UsageError(fmt::format("task {}: {} is {}, not \"{}\"", task_, key, wanted, printable(text(key))));
}

}  // namespace fathom
