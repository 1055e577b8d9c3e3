// Filters that go through a sequence one item at a time, as they are asked for: generators, in Python.

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "text/jinja_filters.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parameters.h"
#include "text/jinja_tests.h"

namespace fathom::jinja {
namespace {

std::string name_of_body(const Value& value, std::string_view what) {
  if (!value.is_text())
    fault("the name of a {} must be a text, not a value of type {}", what, type_name(value));
  return value.str();
}

/// How deep the values nest that such a generator holds.
int depth_of(const Value& value, const Arguments& arguments) {
  int depth = value.depth();
  for (const Value& argument : arguments.positional) depth = std::max(depth, argument.depth());
  for (const auto& [name, argument] : arguments.named) depth = std::max(depth, argument.depth());
  return depth;
}

/// A value's items, of which nothing is looked at before the first is asked for.
class LateItems {
 public:
  explicit LateItems(Value value) : value_(std::move(value)) {}

  /// Whether there is something to go through: not so where the value counts as false.
  bool has_any(Interpreter& interpreter) {
    if (!is_begun_) {
      is_begun_ = true;
      if (is_true(value_)) next_ = iterate(interpreter.budget(), value_);
    }
    return static_cast<bool>(next_);
  }
  std::optional<Value> next(Interpreter& interpreter) {
    return has_any(interpreter) ? next_() : std::nullopt;
  }

 private:
  Value value_;
  NextItem next_;
  bool is_begun_ = false;
};

/// `map("filter", ...)` or `map(attribute="name", default=...)`
Value map_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  return Value::iterator(
      interpreter.budget(),
      [&interpreter, arguments, items = LateItems(value)]() mutable -> std::optional<Value> {
        auto item = items.next(interpreter);
        if (!item) return std::nullopt;
        if (arguments.positional.empty()) {
          const Parameters given("map", arguments, {"attribute", "default"});
          if (!given.has(0)) fault("map requires a filter argument");
          Value found = value_at_path(interpreter, *item, given[0]);
          return found.is_undefined() && given.has_value(1) ? given[1] : found;
        }
        const std::string name = name_of_body(arguments.positional[0], "filter");
        const FilterBody body = find_filter(name);
        if (body == nullptr) fault("No filter named {}.", repr_of_text(name));
        Arguments rest = arguments;
        rest.positional.erase(rest.positional.begin());
        return body(interpreter, *item, rest);
      },
      depth_of(value, arguments));
}

/// The items for which a test holds, or does not; of an attribute of theirs where `by_attribute`.
template <bool wanted, bool by_attribute>
Value select_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  return Value::iterator(
      interpreter.budget(),
      [&interpreter, arguments, items = LateItems(value)]() mutable -> std::optional<Value> {
        constexpr std::size_t kTest = by_attribute ? 1 : 0;
        if (items.has_any(interpreter) && arguments.positional.size() < kTest)
          fault("Missing parameter for attribute name");
        while (auto item = items.next(interpreter)) {
          Value subject = *item;
          if (by_attribute) subject = value_at_path(interpreter, subject, arguments.positional[0]);
          bool holds = false;
          if (arguments.positional.size() > kTest) {
            const std::string name = name_of_body(arguments.positional[kTest], "test");
            const FilterBody body = find_test(name);
            if (body == nullptr) fault("No test named {}.", repr_of_text(name));
            Arguments rest = arguments;
            rest.positional.erase(rest.positional.begin(), rest.positional.begin() + kTest + 1);
            holds = is_true(body(interpreter, subject, rest));
          } else {
            holds = is_true(subject);
          }
          if (holds == wanted) return item;
        }
        return std::nullopt;
      },
      depth_of(value, arguments));
}

Value unique_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("unique", arguments, {"case_sensitive", "attribute"});
  return Value::iterator(
      interpreter.budget(),
      [&interpreter, next = iterate(interpreter.budget(), value),
       seen = std::make_shared<std::set<Value, KeyLess>>(), is_case_sensitive = given.flag(0, false),
       attribute = given.value_or(1, Value::none())]() -> std::optional<Value> {
        while (auto item = next()) {
          Value key = value_at_path(interpreter, *item, attribute);
          if (!is_case_sensitive) key = without_case(interpreter, key);
          spend_on_key(interpreter.budget(), key);
          interpreter.budget().take(128);  // until the end: what was seen is not forgotten
          if (seen->insert(std::move(key)).second) return item;
        }
        return std::nullopt;
      },
      depth_of(value, arguments));
}

constexpr std::array<NamedFilter, 6> kSelectingFilters = {{{"map", map_filter},
                                                           {"select", select_filter<true, false>},
                                                           {"reject", select_filter<false, false>},
                                                           {"selectattr", select_filter<true, true>},
                                                           {"rejectattr", select_filter<false, true>},
                                                           {"unique", unique_filter}}};

}  // namespace

FilterBody find_selecting_filter(std::string_view name) {
  const auto* found = std::ranges::find(kSelectingFilters, name, &NamedFilter::name);
  return found != kSelectingFilters.end() ? found->body : nullptr;
}

}  // namespace fathom::jinja
