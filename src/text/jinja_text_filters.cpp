// Filters that give a text.

#include <algorithm>
#include <array>

#include "text/jinja_attributes.h"
#include "text/jinja_filters.h"
#include "text/jinja_format.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_json.h"
#include "text/jinja_parameters.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

/// The value as a text: itself where it is one.
Value as_text(Interpreter& interpreter, const Value& value) {
  return value.is_text() ? value : interpreter.text(str_of(interpreter.budget(), value));
}

using TextChange = std::string (*)(std::string_view);
template <TextChange change>
Value change_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("the filter", arguments, {});
  const Value text = as_text(interpreter, value);
  interpreter.budget().spend_on_bytes(4 * text.str().size());
  return Value::text(interpreter.budget(), change(text.str()), text.text().is_markup);
}

// Unlike `str.title`, words begin behind white space and opening brackets alone.
std::string title_of_words(std::string_view text) {
  std::string out;
  std::size_t begin = 0;
  const auto flush = [&](std::size_t end) {
    if (end == begin) return;
    const Character first = character_at(text, begin);
    out += to_upper(text.substr(begin, first.length));
    out += to_lower(text.substr(begin + first.length, end - begin - first.length));
  };
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    at += c.length;
    if (!is_python_space(c.code_point) &&
        (c.code_point >= 0x80 ||
         std::string_view("-({[<").find(static_cast<char>(c.code_point)) == std::string_view::npos))
      continue;
    flush(c.begin);
    out += text.substr(c.begin, c.length);
    begin = at;
  }
  flush(text.size());
  return out;
}

Value string_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("string", arguments, {});
  return as_text(interpreter, value);
}

Value safe_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("safe", arguments, {});
  return Value::text(interpreter.budget(), str_of(interpreter.budget(), value), true);
}

Value escape_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("escape", arguments, {});
  if (value.is_text() && value.text().is_markup) return value;
  const std::string text = str_of(interpreter.budget(), value);
  return Value::text(interpreter.budget(), html_escaped(interpreter.budget(), text), true);
}

Value force_escape_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("forceescape", arguments, {});
  const std::string text = str_of(interpreter.budget(), value);
  return Value::text(interpreter.budget(), html_escaped(interpreter.budget(), text), true);
}

Value trim_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("trim", arguments, {"chars"});
  return find_text_method("strip")(interpreter, as_text(interpreter, value), arguments);
}

Value replace_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("replace", arguments, {"old", "new", "count"}, 2);
  Budget& budget = interpreter.budget();
  const std::int64_t most = given.has_value(2) ? given.whole(2, -1) : -1;
  return interpreter.text(
      replaced(budget, str_of(budget, value), str_of(budget, given[0]), str_of(budget, given[1]), most));
}

Value join_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("join", arguments, {"d", "attribute"});
  Budget& budget = interpreter.budget();
  const std::string separator = given.has(0) ? str_of(budget, given[0]) : "";
  TextBuilder out(budget);
  const NextItem next = iterate(budget, value);
  bool is_first = true;
  while (const auto item = next()) {
    if (!is_first) out.append(separator);
    is_first = false;
    append_str(budget, given.has_value(1) ? value_at_path(interpreter, *item, given[1]) : *item, out);
  }
  return interpreter.text(out.take());
}

Value indent_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("indent", arguments, {"width", "first", "blank"});
  if (value.is_undefined()) refuse_undefined(value);
  if (!value.is_text()) fault("indent: a value of type {} is no text", type_name(value));
  TextBuilder indention(interpreter.budget());
  if (given.has(0) && given[0].is_text())
    indention.append(given.text(0));
  else
    indention.append(static_cast<std::size_t>(std::max<std::int64_t>(given.whole(0, 4), 0)), ' ');
  const bool with_blank = given.flag(2, false);
  const std::string text = value.str() + "\n";
  interpreter.budget().spend_on_bytes(text.size());
  TextBuilder out(interpreter.budget());
  if (given.flag(1, false)) out.append(indention.text());
  bool is_first = true;
  for (const std::string_view line : split_lines(text, false)) {
    if (!is_first) out.append("\n");
    if (!is_first && (with_blank || !line.empty())) out.append(indention.text());
    is_first = false;
    out.append(line);
  }
  return Value::text(interpreter.budget(), out.take(), value.text().is_markup);
}

Value truncate_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const Value text = as_text(interpreter, value);
  const std::string end = given.has(2) ? given.text(2) : "...";
  const std::int64_t length = std::min<std::int64_t>(given.whole(0, 255), Budget::kMaxTextBytes);
  const std::int64_t leeway = given.has_value(3) ? given.whole(3, 5) : 5;
  if (length < count_characters(end) || leeway < 0) fault("truncate: the length is too short");
  if (*length_of(text) <= length + std::min<std::int64_t>(leeway, Budget::kMaxTextBytes)) return value;
  std::string_view kept = text.str();
  kept = kept.substr(0, byte_of_character(kept, length - count_characters(end)));
  if (!given.flag(1, false)) kept = kept.substr(0, std::min(kept.rfind(' '), kept.size()));
  return interpreter.text(std::string(kept) + end);
}

Value center_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("center", arguments, {"width"});
  Arguments width;
  width.positional.push_back(given.value_or(0, Value::integer(80)));
  return find_text_method("center")(interpreter, as_text(interpreter, value), width);
}

Value format_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    fault("can't handle positional and keyword arguments at the same time");
  const Value text = as_text(interpreter, value);
  if (arguments.named.empty())
    return percent_format(interpreter.budget(), text,
                          Value::tuple(interpreter.budget(), arguments.positional));
  const auto named = std::make_shared<Dict>(interpreter.budget());
  for (const auto& [name, argument] : arguments.named) named->set(interpreter.text(name), argument);
  return percent_format(interpreter.budget(), text, Value::dict(named));
}

Value tojson_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = given.flag(0, false);
  style.sort_keys = given.flag(3, false);
  if (given.has_value(1)) {
    if (given[1].is_text()) {
      style.indent = given.text(1);
    } else {
      const std::int64_t width = given.whole(1, 0);
      if (width > 1000) fault("tojson: an indent of {} spaces", width);
      style.indent = std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
    }
    style.item_separator = std::string(",");  // moved: GCC 12 warns of an assignment in place
  }
  if (given.has_value(2)) {
    const std::vector<Value> separators = items_of(interpreter.budget(), given[2]);
    if (separators.size() != 2 || !separators[0].is_text() || !separators[1].is_text())
      fault("tojson: separators are two texts");
    style.item_separator = separators[0].str();
    style.key_separator = separators[1].str();
  }
  return interpreter.text(to_json(interpreter.budget(), value, style));
}

std::string url_quoted(std::string_view text, bool in_query) {
  std::string out;
  for (const char c : text) {
    const bool is_kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !in_query);
    if (is_kept)
      out += c;
    else if (c == ' ' && in_query)
      out += '+';
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Value urlencode_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("urlencode", arguments, {});
  Budget& budget = interpreter.budget();
  if (value.is_text() || !is_iterable(value))
    return interpreter.text(url_quoted(str_of(budget, value), false));
  TextBuilder out(budget);
  const Value pairs = value.is(Kind::kDict) ? Value::view(value, ViewKind::kItems) : value;
  for (const Value& pair : items_of(budget, pairs)) {
    const std::vector<Value> both = items_of(budget, pair);
    if (both.size() != 2) fault("urlencode takes pairs, and not {} values", both.size());
    if (out.size() > 0) out.append("&");
    out.append(url_quoted(str_of(budget, both[0]), true));
    out.append("=");
    out.append(url_quoted(str_of(budget, both[1]), true));
  }
  return interpreter.text(out.take());
}

constexpr std::array<NamedFilter, 18> kTextFilters = {{{"upper", change_filter<to_upper>},
                                                       {"lower", change_filter<to_lower>},
                                                       {"capitalize", change_filter<capitalized>},
                                                       {"title", change_filter<title_of_words>},
                                                       {"string", string_filter},
                                                       {"safe", safe_filter},
                                                       {"escape", escape_filter},
                                                       {"e", escape_filter},
                                                       {"forceescape", force_escape_filter},
                                                       {"trim", trim_filter},
                                                       {"replace", replace_filter},
                                                       {"join", join_filter},
                                                       {"indent", indent_filter},
                                                       {"truncate", truncate_filter},
                                                       {"center", center_filter},
                                                       {"format", format_filter},
                                                       {"tojson", tojson_filter},
                                                       {"urlencode", urlencode_filter}}};

}  // namespace

FilterBody find_text_filter(std::string_view name) {
  const auto* found = std::ranges::find(kTextFilters, name, &NamedFilter::name);
  return found != kTextFilters.end() ? found->body : nullptr;
}

}  // namespace fathom::jinja
