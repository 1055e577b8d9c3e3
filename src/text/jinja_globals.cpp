#include "text/jinja_globals.h"

#include "text/jinja_attributes.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parameters.h"

namespace fathom::jinja {
namespace {

constexpr std::int64_t kMaxRange = 100'000;                       // items, as in Jinja2's sandbox
constexpr std::int64_t kMaxRangeNumber = std::int64_t{1} << 53U;  // so that no sum of such overflows

Value make_range(Interpreter& /*interpreter*/, const Value& /*self*/, const Arguments& arguments) {
  const Parameters given("range", arguments, {"start", "stop", "step"}, 1);
  Range range;
  if (given.has(1)) {
    range = {given.whole(0, 0), given.whole(1, 0), given.whole(2, 1)};
  } else {
    range.stop = given.whole(0, 0);
  }
  for (const std::int64_t number : {range.start, range.stop, range.step})
    if (number > kMaxRangeNumber || number < -kMaxRangeNumber)
      fault("range: the number {} is too large", number);
  if (range.step == 0) fault("range: the step is zero");
  if (range.size() > kMaxRange)
    fault("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMaxRange);
  return Value::range(range);
}

/// What Python's `dict(...)` makes of arguments.
template <typename Set>
void fill(Interpreter& interpreter, const Arguments& arguments, const Set& set) {
  if (arguments.positional.size() > 1) fault("dict takes one argument without a name at most");
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    if (from.is(Kind::kDict)) {
      for (const auto& [key, value] : from.dict().entries()) set(key, value);
    } else {
      for (const Value& pair : items_of(interpreter.budget(), from)) {
        const std::vector<Value> both = items_of(interpreter.budget(), pair);
        if (both.size() != 2) fault("dict takes pairs, and not {} values", both.size());
        set(both[0], both[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) set(interpreter.text(name), value);
}

Value make_dict(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  const auto dict = std::make_shared<Dict>(interpreter.budget());
  fill(interpreter, arguments, [&](const Value& key, const Value& value) { dict->set(key, value); });
  return Value::dict(dict);
}

Value make_namespace(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  Namespace& name_space = interpreter.make_namespace();
  fill(interpreter, arguments,
       [&](const Value& key, const Value& value) { set_attribute(name_space, key, value); });
  return Value::of(name_space);
}

Value raise_exception(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  const Parameters given("raise_exception", arguments, {"message"}, 1);
  throw Fault(str_of(interpreter.budget(), given[0]), true);
}

Value strftime_now(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  const Parameters given("strftime_now", arguments, {"format"}, 1);
  if (given.text(0).size() > 1000) fault("strftime_now: the format is too long");
  return interpreter.text(interpreter.format_time()(given.text(0)));
}

Value call_joiner(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none("the joiner", arguments, {});
  Dict& state = self.name_space().attributes;
  const bool is_used = is_true(*state.find("used"));
  state.set(interpreter.text("used"), Value::boolean(true));
  return is_used ? *state.find("sep") : interpreter.text("");
}

Value make_joiner(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  const Parameters given("joiner", arguments, {"sep"});
  Namespace& state = interpreter.make_namespace();
  state.attributes.set(interpreter.text("sep"), given.value_or(0, interpreter.text(", ")));
  state.attributes.set(interpreter.text("used"), Value::boolean(false));
  return Value::function(interpreter.budget(), "joiner", call_joiner, Value::of(state));
}

void turn_cycler(Interpreter& interpreter, Dict& state, std::int64_t place) {
  const Value items = *state.find("items");
  place %= static_cast<std::int64_t>(items.items().size());
  state.set(interpreter.text("pos"), Value::integer(place));
  state.set(interpreter.text("current"), items.items()[static_cast<std::size_t>(place)]);
}

Value cycler_next(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none("next", arguments, {});
  Dict& state = self.name_space().attributes;
  Value current = *state.find("current");
  turn_cycler(interpreter, state, state.find("pos")->integer() + 1);
  return current;
}

Value cycler_reset(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none("reset", arguments, {});
  turn_cycler(interpreter, self.name_space().attributes, 0);
  return Value::none();
}

Value make_cycler(Interpreter& interpreter, const Value& /*self*/, const Arguments& arguments) {
  if (arguments.positional.empty() || !arguments.named.empty()) fault("at least one item has to be provided");
  Namespace& state = interpreter.make_namespace();
  Dict& attributes = state.attributes;
  attributes.set(interpreter.text("items"), Value::tuple(interpreter.budget(), arguments.positional));
  attributes.set(interpreter.text("next"),
                 Value::function(interpreter.budget(), "next", cycler_next, Value::of(state)));
  attributes.set(interpreter.text("reset"),
                 Value::function(interpreter.budget(), "reset", cycler_reset, Value::of(state)));
  turn_cycler(interpreter, attributes, 0);
  return Value::of(state);
}

}  // namespace

void define_globals(Interpreter& interpreter) {
  const auto define = [&](const char* name, FunctionBody body) {
    interpreter.define(name, Value::function(interpreter.budget(), name, body, Value::none()));
  };
  define("range", make_range);
  define("dict", make_dict);
  define("namespace", make_namespace);
  define("raise_exception", raise_exception);
  define("strftime_now", strftime_now);
  define("joiner", make_joiner);
  define("cycler", make_cycler);
}

}  // namespace fathom::jinja
