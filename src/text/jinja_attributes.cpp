#include "text/jinja_attributes.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "text/jinja_interpreter.h"
#include "text/jinja_parameters.h"

namespace fathom::jinja {
namespace {

Value dict_get(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  const Parameters given("get", arguments, {"key", "default"}, 1);
  const Value* found = self.dict().find(given[0]);
  return found != nullptr ? *found : given.value_or(1, Value::none());
}
Value dict_items(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  const Parameters none("items", arguments, {});
  return Value::view(self, ViewKind::kItems);
}
Value dict_keys(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  const Parameters none("keys", arguments, {});
  return Value::view(self, ViewKind::kKeys);
}
Value dict_values(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  const Parameters none("values", arguments, {});
  return Value::view(self, ViewKind::kValues);
}
// Values never change: one is as good as its copy.
Value copy(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  const Parameters none("copy", arguments, {});
  return self;
}

Value sequence_count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("count", arguments, {"value"}, 1);
  std::int64_t count = 0;
  for (const Value& item : items_of(interpreter.budget(), self))
    if (are_equal(interpreter.budget(), item, given[0])) ++count;
  return Value::integer(count);
}
Value sequence_index(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters given("index", arguments, {"value", "start", "stop"}, 1);
  const std::vector<Value> items = items_of(interpreter.budget(), self);
  const auto size = static_cast<std::int64_t>(items.size());
  const auto bound = [&](std::int64_t at) {
    return std::clamp<std::int64_t>(at < 0 ? at + size : at, 0, size);
  };
  const std::int64_t stop = bound(given.whole(2, size));
  for (std::int64_t i = bound(given.whole(1, 0)); i < stop; ++i)
    if (are_equal(interpreter.budget(), items[static_cast<std::size_t>(i)], given[0]))
      return Value::integer(i);
  fault("index: {} is not in the {}", repr_of(interpreter.budget(), given[0]), type_name(self));
}

Value loop_cycle(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  const auto& values = arguments.positional;
  if (values.empty() || !arguments.named.empty()) fault("no items for cycling given");
  return values[static_cast<std::size_t>(std::max<std::int64_t>(self.loop().index0, 0)) % values.size()];
}
Value loop_changed(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  return Value::boolean(self.loop().changed(arguments.positional));
}

Value float_is_integer(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  const Parameters none("is_integer", arguments, {});
  return Value::boolean(std::isfinite(self.real()) && self.real() == std::floor(self.real()));
}

struct Method {
  std::string_view name;
  FunctionBody body;
};

template <std::size_t Size>
FunctionBody find_in(const std::array<Method, Size>& methods, std::string_view name) {
  const auto* found = std::ranges::find(methods, name, &Method::name);
  return found == methods.end() ? nullptr : found->body;
}

constexpr std::array<Method, 5> kDictMethods = {
    {{"get", dict_get}, {"items", dict_items}, {"keys", dict_keys}, {"values", dict_values}, {"copy", copy}}};
constexpr std::array<Method, 3> kListMethods = {
    {{"count", sequence_count}, {"index", sequence_index}, {"copy", copy}}};
constexpr std::array<Method, 2> kTupleMethods = {{{"count", sequence_count}, {"index", sequence_index}}};
constexpr std::array<Method, 2> kLoopMethods = {{{"cycle", loop_cycle}, {"changed", loop_changed}}};

/// Methods that change what they belong to, which the sandbox holds back.
bool is_mutator(const Value& value, std::string_view name) {
  static constexpr std::array<std::string_view, 5> kDict = {"clear", "pop", "popitem", "setdefault",
                                                            "update"};
  static constexpr std::array<std::string_view, 8> kList = {"append", "clear", "pop",    "reverse",
                                                            "insert", "sort",  "extend", "remove"};
  if (value.is(Kind::kDict)) return std::ranges::find(kDict, name) != kDict.end();
  return value.is(Kind::kList) && std::ranges::find(kList, name) != kList.end();
}

bool is_inner_name(std::string_view name) {
  return name.size() > 4 && name.starts_with("__") && name.ends_with("__");
}

std::optional<Value> loop_attribute(Budget& budget, Loop& loop, std::string_view name) {
  const auto item_or = [&](const Value* item, const char* otherwise) {
    return item != nullptr && !item->is_missing() ? *item : Value::undefined(budget, otherwise);
  };
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(loop.peek() == nullptr);
  if (name == "length") return Value::integer(loop.length());
  if (name == "revindex0") return Value::integer(loop.length() - loop.index0 - 1);
  if (name == "revindex") return Value::integer(loop.length() - loop.index0);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "previtem")
    return item_or(loop.index0 == 0 ? nullptr : &loop.previous(), "there is no previous item");
  if (name == "nextitem") return item_or(loop.peek(), "there is no next item");
  return std::nullopt;
}

}  // namespace

FunctionBody find_method(const Value& self, std::string_view name) {
  switch (self.kind()) {
    case Kind::kDict:
      return find_in(kDictMethods, name);
    case Kind::kText:
      return find_text_method(name);
    case Kind::kList:
      return find_in(kListMethods, name);
    case Kind::kTuple:
    case Kind::kRange:
      return find_in(kTupleMethods, name);
    case Kind::kLoop:
      return find_in(kLoopMethods, name);
    case Kind::kFloat:
      return name == "is_integer" ? float_is_integer : nullptr;
    default:
      return nullptr;
  }
}

std::optional<Value> find_attribute(Interpreter& interpreter, const Value& value, std::string_view name) {
  if (is_inner_name(name) || is_mutator(value, name))
    return Value::undefined(interpreter.budget(),
                            fmt::format("access to attribute {} of {} object is unsafe.", repr_of_text(name),
                                        repr_of_text(type_name(value))));
  if (const FunctionBody method = find_method(value, name))
    return Value::function(interpreter.budget(), "method", method, value);
  if (value.is(Kind::kNamespace)) {
    const Value* found = value.name_space().attributes.find(name);
    return found != nullptr ? std::optional(*found) : std::nullopt;
  }
  if (value.is(Kind::kLoop)) return loop_attribute(interpreter.budget(), value.loop(), name);
  if (value.is(Kind::kMacro) && name == "name") return interpreter.text(value.macro().name);
  return std::nullopt;
}

void set_attribute(Namespace& name_space, Value name, Value value) {
  if (name.is_text() && name.str().starts_with("_"))
    fault(
        "Chat templates cannot store underscore-prefixed attributes on a namespace, but got {}. Please "
        "rename the "
        "attribute.",
        repr_of_text(name.str()));
  name_space.attributes.set(std::move(name), std::move(value));
}

}  // namespace fathom::jinja
