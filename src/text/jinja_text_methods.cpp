// The methods of Python's `str` that give a text, a number or a list.

#include <algorithm>
#include <array>

#include "text/jinja_attributes.h"
#include "text/jinja_format.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parameters.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

Value same_kind(Interpreter& interpreter, const Value& self, std::string text) {
  return Value::text(interpreter.budget(), std::move(text), self.text().is_markup);
}

/// For `rfind`, which takes the product of both lengths at worst.
void spend_on_search_from_right(Interpreter& interpreter, const Value& self, std::string_view part) {
  interpreter.budget().spend_on_bytes(self.str().size() * (part.size() / 16 + 1));
}

using Change = std::string (*)(std::string_view);
template <Change change>
Value changed_by(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none("the method", arguments, {});
  interpreter.budget().spend_on_bytes(4 * self.str().size());
  return same_kind(interpreter, self, change(self.str()));
}

template <Side side>
Value stripped_at(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("strip", arguments, {"chars"});
  interpreter.budget().spend_on_bytes(self.str().size());
  if (!given.has_value(0)) return same_kind(interpreter, self, std::string(strip(self.str(), nullptr, side)));
  const std::string_view characters = given.text(0);
  interpreter.budget().spend_on_bytes(characters.size() * self.str().size());
  return same_kind(interpreter, self, std::string(strip(self.str(), &characters, side)));
}

Value list_of(Interpreter& interpreter, const Value& self, const std::vector<std::string_view>& parts) {
  Budget::check_items(parts.size());
  interpreter.budget().spend(parts.size());
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.push_back(same_kind(interpreter, self, std::string(part)));
  return Value::list(interpreter.budget(), std::move(items));
}

template <bool from_right>
Value split(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("split", arguments, {"sep", "maxsplit"});
  interpreter.budget().spend_on_bytes(self.str().size());
  const std::int64_t most = given.whole(1, -1);
  if (!given.has_value(0))
    return list_of(
        interpreter, self,
        from_right ? split_at_space_from_right(self.str(), most) : split_at_space(self.str(), most));
  const std::string& separator = given.text(0);
  if (separator.empty()) fault("split: the separator is empty");
  if (from_right) spend_on_search_from_right(interpreter, self, separator);
  return list_of(
      interpreter, self,
      from_right ? split_from_right_at(self.str(), separator, most) : split_at(self.str(), separator, most));
}

Value lines_of(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("splitlines", arguments, {"keepends"});
  interpreter.budget().spend_on_bytes(self.str().size());
  return list_of(interpreter, self, split_lines(self.str(), given.flag(0, false)));
}

template <bool from_right>
Value partition(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("partition", arguments, {"sep"}, 1);
  const std::string& text = self.str();
  const std::string& separator = given.text(0);
  if (separator.empty()) fault("partition: the separator is empty");
  if (from_right) spend_on_search_from_right(interpreter, self, separator);
  const std::size_t at = from_right ? text.rfind(separator) : find_part(text, separator);
  std::string before = text;
  std::string found;
  std::string behind;
  if (at != std::string::npos) {
    before = text.substr(0, at);
    found = separator;
    behind = text.substr(at + separator.size());
  } else if (from_right) {
    std::swap(before, behind);
  }
  return Value::tuple(interpreter.budget(), {same_kind(interpreter, self, std::move(before)),
                                             same_kind(interpreter, self, std::move(found)),
                                             same_kind(interpreter, self, std::move(behind))});
}

/// The part of a text that `start` and `end` of a search mean, and where it begins.
struct Window {
  std::string_view text;
  std::int64_t begin = 0;   // characters
  bool is_outside = false;  // begins behind the end, where not even "" is found
};

Window window_of(const Value& self, const Parameters& given) {
  const std::int64_t size = *length_of(self);
  const auto bound = [&](std::size_t place, std::int64_t otherwise) {
    std::int64_t at = given.has_value(place) ? given.whole(place, otherwise) : otherwise;
    if (at < 0) at = at < -size ? 0 : at + size;
    return at;
  };
  const std::int64_t begin = bound(1, 0);
  const std::int64_t end = std::min(bound(2, size), size);
  if (begin > end) return {"", begin, true};
  const std::size_t first = byte_of_character(self.str(), begin);
  const std::string_view rest = std::string_view(self.str()).substr(first);
  return {rest.substr(0, byte_of_character(rest, end - begin)), begin, false};
}

template <bool from_right>
std::int64_t place_of(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("find", arguments, {"sub", "start", "end"}, 1);
  interpreter.budget().spend_on_bytes(self.str().size());
  const Window window = window_of(self, given);
  if (window.is_outside) return -1;
  if (from_right) spend_on_search_from_right(interpreter, self, given.text(0));
  const std::size_t at =
      from_right ? window.text.rfind(given.text(0)) : find_part(window.text, given.text(0));
  if (at == std::string_view::npos) return -1;
  return window.begin + count_characters(window.text.substr(0, at));
}
template <bool from_right>
Value find(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  return Value::integer(place_of<from_right>(interpreter, self, arguments));
}
template <bool from_right>
Value index(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const std::int64_t place = place_of<from_right>(interpreter, self, arguments);
  if (place < 0) fault("index: the text is not found");
  return Value::integer(place);
}

Value count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("count", arguments, {"sub", "start", "end"}, 1);
  interpreter.budget().spend_on_bytes(self.str().size());
  const Window window = window_of(self, given);
  if (window.is_outside) return Value::integer(0);
  const std::string& part = given.text(0);
  if (part.empty()) return Value::integer(count_characters(window.text) + 1);
  std::int64_t found = 0;
  for (std::size_t at = find_part(window.text, part); at != std::string_view::npos;
       at = find_part(window.text, part, at + part.size()))
    ++found;
  return Value::integer(found);
}

template <bool at_end>
Value begins_or_ends(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const char* const name = at_end ? "endswith" : "startswith";
  const Parameters given(name, arguments, {"prefix", "start", "end"}, 1);
  const Window window = given.has(1) || given.has(2) ? window_of(self, given) : Window{self.str(), 0, false};
  const auto matches = [&](const Value& part) {
    if (!part.is_text())
      fault("{} takes a text or a tuple of them, not a value of type {}", name, type_name(part));
    if (window.is_outside) return false;
    return at_end ? window.text.ends_with(part.str()) : window.text.starts_with(part.str());
  };
  if (!given[0].is(Kind::kTuple)) return Value::boolean(matches(given[0]));
  interpreter.budget().spend(given[0].items().size());
  return Value::boolean(std::ranges::any_of(given[0].items(), matches));
}

template <bool at_end>
Value remove_affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("removeprefix", arguments, {"prefix"}, 1);
  std::string_view text = self.str();
  const std::string& affix = given.text(0);
  if (at_end && text.ends_with(affix))
    text.remove_suffix(affix.size());
  else if (!at_end && text.starts_with(affix))
    text.remove_prefix(affix.size());
  return same_kind(interpreter, self, std::string(text));
}

Value replace(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("replace", arguments, {"old", "new", "count"}, 2);
  return same_kind(
      interpreter, self,
      replaced(interpreter.budget(), self.str(), given.text(0), given.text(1), given.whole(2, -1)));
}

Value join(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("join", arguments, {"iterable"}, 1);
  TextBuilder out(interpreter.budget());
  const NextItem next = iterate(interpreter.budget(), given[0]);
  bool is_first = true;
  while (const auto item = next()) {
    if (!item->is_text()) fault("join: a value of type {} is among the texts", type_name(*item));
    if (!is_first) out.append(self.str());
    is_first = false;
    const bool escapes = self.text().is_markup && !item->text().is_markup;
    out.append(escapes ? html_escaped(interpreter.budget(), item->str()) : item->str());
  }
  return same_kind(interpreter, self, out.take());
}

enum class Placing : std::uint8_t { kLeft, kRight, kMiddle };

template <Placing placing>
Value padded(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("center", arguments, {"width", "fillchar"}, 1);
  const std::int64_t size = *length_of(self);
  const std::int64_t width = std::max<std::int64_t>(given.whole(0, 0), 0);
  const std::string fill = given.has(1) ? given.text(1) : " ";
  if (count_characters(fill) != 1) fault("the fill character must be one character");
  const std::int64_t missing = std::max<std::int64_t>(width - size, 0);
  if (missing > static_cast<std::int64_t>(Budget::kMaxTextBytes))
    Budget::check_text_bytes(Budget::kMaxTextBytes + 1);
  std::int64_t before = 0;
  if (placing == Placing::kRight) before = missing;
  if (placing == Placing::kMiddle) before = missing / 2 + (missing & width & 1);  // as Python rounds
  TextBuilder out(interpreter.budget());
  for (std::int64_t i = 0; i < before; ++i) out.append(fill);
  out.append(self.str());
  for (std::int64_t i = before; i < missing; ++i) out.append(fill);
  return same_kind(interpreter, self, out.take());
}

Value zero_filled(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("zfill", arguments, {"width"}, 1);
  const std::string& text = self.str();
  const std::int64_t missing =
      std::max<std::int64_t>(std::max<std::int64_t>(given.whole(0, 0), 0) - *length_of(self), 0);
  const std::size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  TextBuilder out(interpreter.budget());
  out.append(std::string_view(text).substr(0, sign));
  out.append(static_cast<std::size_t>(missing), '0');
  out.append(std::string_view(text).substr(sign));
  return same_kind(interpreter, self, out.take());
}

Value tabs_expanded(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("expandtabs", arguments, {"tabsize"});
  const std::int64_t size = given.whole(0, 8);
  TextBuilder out(interpreter.budget());
  std::int64_t column = 0;
  for (std::size_t at = 0; at < self.str().size();) {
    const Character c = character_at(self.str(), at);
    at += c.length;
    if (c.code_point == '\t') {
      const std::int64_t missing = size > 0 ? size - column % size : 0;
      out.append(static_cast<std::size_t>(missing), ' ');
      column += missing;
      continue;
    }
    column = c.code_point == '\n' || c.code_point == '\r' ? 0 : column + 1;
    out.append(std::string_view(self.str()).substr(c.begin, c.length));
  }
  return same_kind(interpreter, self, out.take());
}

/// The value that a field "name.attribute[key]" of a format string means.
class FieldReader {
 public:
  FieldReader(Interpreter& interpreter, const Arguments& arguments)
      : interpreter_(interpreter), arguments_(arguments) {}

  Value operator()(std::string_view field) {
    const std::size_t end = std::min(field.find_first_of(".["), field.size());
    Value value = first(field.substr(0, end));
    field.remove_prefix(end);
    while (!field.empty()) {
      if (field[0] == '.') {
        const std::size_t stop = std::min(field.find_first_of(".[", 1), field.size());
        if (stop == 1) fault("a format has an empty attribute");
        value = interpreter_.attribute(value, interpreter_.text(std::string(field.substr(1, stop - 1))));
        field.remove_prefix(stop);
      } else {
        const std::size_t close = field.find(']');
        if (close == std::string_view::npos || close == 1) fault("a format has a '[' without key or ']'");
        value = interpreter_.item(value, key(field.substr(1, close - 1)));
        field.remove_prefix(close + 1);
        if (!field.empty() && field[0] != '.' && field[0] != '[') fault("a format goes on behind ']'");
      }
    }
    return value;
  }

 private:
  static std::optional<std::size_t> number(std::string_view text) {
    if (text.empty() || text.size() > 6) return std::nullopt;
    std::size_t value = 0;
    for (const char c : text) {
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + static_cast<std::size_t>(c - '0');
    }
    return value;
  }

  Value key(std::string_view text) {
    if (const auto index = number(text)) return Value::integer(static_cast<std::int64_t>(*index));
    return interpreter_.text(std::string(text));
  }

  Value first(std::string_view name) {
    const auto given = number(name);
    if (name.empty() || given) {
      if ((name.empty() ? is_numbered_ : is_counting_))
        fault("a format numbers some fields and leaves others out");
      (name.empty() ? is_counting_ : is_numbered_) = true;
      const std::size_t place = given ? *given : next_++;
      if (place >= arguments_.positional.size())
        fault("a format asks for value {}, which is not given", place);
      return arguments_.positional[place];
    }
    interpreter_.budget().spend(arguments_.named.size());
    for (const auto& [key, value] : arguments_.named)
      if (key == name) return value;
    fault("a format asks for {}, which is not given", repr_of_text(name));
  }

  Interpreter& interpreter_;
  const Arguments& arguments_;
  std::size_t next_ = 0;
  bool is_counting_ = false;
  bool is_numbered_ = false;
};

Value format(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const FieldValue reader = FieldReader(interpreter, arguments);
  return same_kind(interpreter, self, brace_format(interpreter.budget(), self.str(), reader));
}

Value format_map(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("format_map", arguments, {"mapping"}, 1);
  if (!given[0].is(Kind::kDict)) fault("format_map takes a dict");
  Arguments named;
  for (const auto& [key, value] : given[0].dict().entries())
    if (key.is_text()) named.named.emplace_back(key.str(), value);
  return format(interpreter, self, named);
}

struct TextMethod {
  std::string_view name;
  FunctionBody body;
};

constexpr std::array<TextMethod, 32> kTextMethods = {{{"strip", stripped_at<Side::kBoth>},
                                                      {"lstrip", stripped_at<Side::kLeft>},
                                                      {"rstrip", stripped_at<Side::kRight>},
                                                      {"split", split<false>},
                                                      {"rsplit", split<true>},
                                                      {"splitlines", lines_of},
                                                      {"startswith", begins_or_ends<false>},
                                                      {"endswith", begins_or_ends<true>},
                                                      {"replace", replace},
                                                      {"join", join},
                                                      {"format", format},
                                                      {"format_map", format_map},
                                                      {"upper", changed_by<to_upper>},
                                                      {"lower", changed_by<to_lower>},
                                                      {"casefold", changed_by<to_lower>},
                                                      {"title", changed_by<titled>},
                                                      {"capitalize", changed_by<capitalized>},
                                                      {"swapcase", changed_by<case_swapped>},
                                                      {"find", find<false>},
                                                      {"rfind", find<true>},
                                                      {"index", index<false>},
                                                      {"rindex", index<true>},
                                                      {"count", count},
                                                      {"partition", partition<false>},
                                                      {"rpartition", partition<true>},
                                                      {"removeprefix", remove_affix<false>},
                                                      {"removesuffix", remove_affix<true>},
                                                      {"center", padded<Placing::kMiddle>},
                                                      {"ljust", padded<Placing::kLeft>},
                                                      {"rjust", padded<Placing::kRight>},
                                                      {"zfill", zero_filled},
                                                      {"expandtabs", tabs_expanded}}};

}  // namespace

FunctionBody find_text_method(std::string_view name) {
  const auto* found = std::ranges::find(kTextMethods, name, &TextMethod::name);
  return found != kTextMethods.end() ? found->body : find_text_question(name);
}

}  // namespace fathom::jinja
