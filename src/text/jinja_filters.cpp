#include "text/jinja_filters.h"

#include <algorithm>
#include <array>

#include "text/jinja_interpreter.h"
#include "text/jinja_parameters.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

Value default_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("default", arguments, {"default_value", "boolean"});
  const bool is_lacking = value.is_undefined() || (given.flag(1, false) && !is_true(value));
  return is_lacking ? given.value_or(0, interpreter.text("")) : value;
}

Value attr_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("attr", arguments, {"name"}, 1);
  if (value.is_undefined()) refuse_undefined(value);
  const std::string& name = given.text(0);
  // An attribute only: not the item that `value.name` would fall back to.
  if (value.is(Kind::kDict) && value.dict().find(name) != nullptr) {
    const Value empty = Value::dict(std::make_shared<Dict>(interpreter.budget()));
    return interpreter.attribute(empty, given[0]);
  }
  return interpreter.attribute(value, given[0]);
}

Value unsupported_filter(Interpreter& /*interpreter*/, const Value& /*value*/,
                         const Arguments& /*arguments*/) {
  fault(
      "a filter that is made for web pages is not supported (filesizeformat, groupby, pprint, random, "
      "striptags, "
      "urlize, wordwrap, xmlattr)");
}

constexpr std::array<NamedFilter, 11> kGeneralFilters = {{{"default", default_filter},
                                                          {"d", default_filter},
                                                          {"attr", attr_filter},
                                                          {"filesizeformat", unsupported_filter},
                                                          {"groupby", unsupported_filter},
                                                          {"pprint", unsupported_filter},
                                                          {"random", unsupported_filter},
                                                          {"striptags", unsupported_filter},
                                                          {"urlize", unsupported_filter},
                                                          {"wordwrap", unsupported_filter},
                                                          {"xmlattr", unsupported_filter}}};

}  // namespace

FilterBody find_filter(std::string_view name) {
  const auto* found = std::ranges::find(kGeneralFilters, name, &NamedFilter::name);
  if (found != kGeneralFilters.end()) return found->body;
  for (const auto find : {find_text_filter, find_number_filter, find_sequence_filter, find_selecting_filter})
    if (const FilterBody body = find(name)) return body;
  return nullptr;
}

Value value_at_path(Interpreter& interpreter, Value value, const Value& path) {
  if (path.is_none()) return value;
  if (!path.is_text()) return interpreter.item(value, path);
  for (const std::string_view part : split_at(path.str(), ".", -1)) {
    const bool is_number = !part.empty() && part.size() < 18 &&
                           std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
    value = interpreter.item(value, is_number ? Value::integer(std::stoll(std::string(part)))
                                              : interpreter.text(std::string(part)));
  }
  return value;
}

Value without_case(Interpreter& interpreter, const Value& value) {
  if (!value.is_text()) return value;
  interpreter.budget().spend_on_bytes(2 * value.str().size());
  return interpreter.text(to_lower(value.str()));
}

}  // namespace fathom::jinja
