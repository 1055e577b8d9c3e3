#include "plan/name_groups.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string_view>
#include <tuple>

namespace fathom {
namespace {

using Numbers = std::vector<std::int64_t>;

/// A name with its numbers taken out.
struct SplitName {
  std::vector<std::string> parts;  // between the dots; empty where a number stood
  Numbers numbers;
};

bool is_number(std::string_view part) {
  constexpr std::size_t kMostDigits = 9;  // longer ones, and those with leading zeros, are left as they are
  if (part.empty() || part.size() > kMostDigits || (part.size() > 1 && part[0] == '0')) return false;
  return std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
}

SplitName split(const std::string& name) {
  SplitName result;
  std::size_t begin = 0;
  while (true) {
    const std::size_t dot = name.find('.', begin);
    const std::string part = name.substr(begin, dot == std::string::npos ? dot : dot - begin);
    if (is_number(part)) {
      result.numbers.push_back(std::stoll(part));
      result.parts.emplace_back();
    } else {
      result.parts.push_back(part);
    }
    if (dot == std::string::npos) return result;
    begin = dot + 1;
  }
}

/// Which numbers a place of a pattern takes, ascending.
using Choices = std::vector<Numbers>;

/// Cuts a set of number rows (sorted) into products of choices.
std::vector<Choices> products(const std::vector<Numbers>& rows, std::size_t column) {
  if (rows.empty() || rows.front().size() == column) return {Choices{}};
  std::map<std::int64_t, std::vector<Numbers>> rows_of;  // by the number in `column`
  for (const Numbers& row : rows) rows_of[row[column]].push_back(row);
  std::map<std::vector<Numbers>, Numbers> firsts_of;  // by what follows it
  for (const auto& [first, following] : rows_of) {
    std::vector<Numbers> rest;
    rest.reserve(following.size());
    for (const Numbers& row : following)
      rest.emplace_back(row.begin() + static_cast<std::ptrdiff_t>(column) + 1, row.end());
    firsts_of[rest].push_back(first);
  }
  std::vector<Choices> result;
  for (const auto& [rest, firsts] : firsts_of) {
    for (Choices& choices : products(rest, 0)) {
      choices.insert(choices.begin(), firsts);
      result.push_back(std::move(choices));
    }
  }
  return result;
}

/// "7", "{3..60}", "{0,2,4..7}".
std::string choices_text(const Numbers& numbers) {
  if (numbers.size() == 1) return std::to_string(numbers.front());
  std::string text;
  for (std::size_t begin = 0; begin < numbers.size();) {
    std::size_t end = begin;
    while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1) ++end;
    if (!text.empty()) text += ",";
    if (end == begin) {
      text += std::to_string(numbers[begin]);
    } else {
      text += fmt::format("{}{}{}", numbers[begin], end == begin + 1 ? "," : "..", numbers[end]);
    }
    begin = end + 1;
  }
  return "{" + text + "}";
}

/// The name of `parts` with `piece(k)` where its k-th number stood.
template <typename Piece>
std::string join(const std::vector<std::string>& parts, const Piece& piece) {
  std::string name;
  std::size_t number = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) name += ".";
    name += parts[i].empty() ? piece(number++) : parts[i];
  }
  return name;
}

/// All combinations of the choices, the last place running fastest.
std::vector<Numbers> combinations(const Choices& choices) {
  std::vector<Numbers> rows = {{}};
  for (const Numbers& numbers : choices) {
    std::vector<Numbers> longer;
    for (const Numbers& row : rows) {
      for (const std::int64_t number : numbers) {
        longer.push_back(row);
        longer.back().push_back(number);
      }
    }
    rows = std::move(longer);
  }
  return rows;
}

using OrderKey = std::vector<std::tuple<std::int64_t, std::string>>;

OrderKey order_key(const std::string& name) {
  SplitName split_name = split(name);
  OrderKey key;
  std::size_t number = 0;
  for (std::string& part : split_name.parts) {
    const bool numeric = part.empty() && number < split_name.numbers.size();
    key.emplace_back(numeric ? split_name.numbers[number++] : INT64_MAX, std::move(part));
  }
  return key;
}

}  // namespace

std::vector<std::string> in_name_order(std::vector<std::string> names) {
  std::vector<std::pair<OrderKey, std::string>> keyed;
  keyed.reserve(names.size());
  for (std::string& name : names) keyed.emplace_back(order_key(name), std::move(name));
  std::ranges::sort(keyed);
  std::ranges::transform(keyed, names.begin(), [](auto& pair) { return std::move(pair.second); });
  return names;
}

std::vector<NameGroup> group_names(const std::vector<std::string>& names) {
  std::map<std::vector<std::string>, std::vector<Numbers>> rows_of;
  std::vector<NameGroup> groups;
  for (const std::string& name : names) {
    SplitName parts = split(name);
    // An empty part would be taken for a number's place.
    const auto empty_parts = static_cast<std::size_t>(std::ranges::count(parts.parts, ""));
    if (empty_parts != parts.numbers.size()) {
      groups.push_back({name, {name}});
    } else {
      rows_of[parts.parts].push_back(std::move(parts.numbers));
    }
  }
  for (auto& [parts, rows] : rows_of) {
    std::ranges::sort(rows);
    for (const Choices& choices : products(rows, 0)) {
      NameGroup group;
      group.pattern = join(parts, [&](std::size_t k) { return choices_text(choices[k]); });
      for (const Numbers& row : combinations(choices))
        group.names.push_back(join(parts, [&](std::size_t k) { return std::to_string(row[k]); }));
      groups.push_back(std::move(group));
    }
  }
  std::ranges::sort(groups, {}, [](const NameGroup& group) { return order_key(group.names.front()); });
  return groups;
}

}  // namespace fathom
