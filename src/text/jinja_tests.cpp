#include "text/jinja_tests.h"

#include <algorithm>
#include <array>

#include "text/jinja_attributes.h"
#include "text/jinja_filters.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parameters.h"

namespace fathom::jinja {
namespace {

using Question = bool (*)(const Value&);

template <Question question>
Value answer(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  const Parameters none("the test", arguments, {});
  return Value::boolean(question(value));
}

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_boolean(const Value& value) {
  return value.is(Kind::kBool);
}
bool is_the_true(const Value& value) {
  return value.is(Kind::kBool) && value.boolean();
}
bool is_the_false(const Value& value) {
  return value.is(Kind::kBool) && !value.boolean();
}
bool is_an_integer(const Value& value) {
  return value.is(Kind::kInt);
}
bool is_a_float(const Value& value) {
  return value.is(Kind::kFloat);
}
bool is_a_number(const Value& value) {
  return value.is_number();
}
bool is_a_string(const Value& value) {
  return value.is_text();
}
bool is_a_mapping(const Value& value) {
  return value.is(Kind::kDict);
}
bool is_escaped(const Value& value) {
  return value.is_text() && value.text().is_markup;
}
bool is_callable(const Value& value) {
  return value.is(Kind::kFunction) || value.is(Kind::kMacro) || value.is(Kind::kLoop) || value.is_undefined();
}
bool is_a_sequence(const Value& value) {
  return value.is_text() || value.is_sequence() || value.is(Kind::kDict) || value.is(Kind::kRange) ||
         value.is_undefined();
}

bool has_rest(Interpreter& interpreter, const Value& value, const Value& divisor, std::int64_t rest) {
  const Value modulo = compute(interpreter.budget(), Arithmetic::kModulo, value, divisor);
  return are_equal(interpreter.budget(), modulo, Value::integer(rest));
}
Value is_odd(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("odd", arguments, {});
  return Value::boolean(has_rest(interpreter, value, Value::integer(2), 1));
}
Value is_even(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("even", arguments, {});
  return Value::boolean(has_rest(interpreter, value, Value::integer(2), 0));
}
Value is_divisible(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("divisibleby", arguments, {"num"}, 1);
  return Value::boolean(has_rest(interpreter, value, given[0], 0));
}

template <bool wants_upper>
Value has_case(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("the test", arguments, {});
  const Value text = interpreter.text(str_of(interpreter.budget(), value));
  return find_text_method(wants_upper ? "isupper" : "islower")(interpreter, text, Arguments{});
}

Value is_a_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  const Parameters none("filter", arguments, {});
  return Value::boolean(value.is_text() && find_filter(value.str()) != nullptr);
}
Value is_a_test(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  const Parameters none("test", arguments, {});
  return Value::boolean(value.is_text() && find_test(value.str()) != nullptr);
}

Value is_same(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  const Parameters given("sameas", arguments, {"other"}, 1);
  return Value::boolean(value.same_as(given[0]));
}
Value is_in(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("in", arguments, {"seq"}, 1);
  return Value::boolean(contains(interpreter.budget(), given[0], value));
}

template <Comparison comparison>
Value compares(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("the test", arguments, {"other"}, 1);
  Budget& budget = interpreter.budget();
  switch (comparison) {
    case Comparison::kEqual:
      return Value::boolean(are_equal(budget, value, given[0]));
    case Comparison::kNotEqual:
      return Value::boolean(!are_equal(budget, value, given[0]));
    case Comparison::kLess:
      return Value::boolean(is_less(budget, value, given[0]));
    case Comparison::kLessOrEqual:
      return Value::boolean(is_less_or_equal(budget, value, given[0]));
    case Comparison::kGreater:
      return Value::boolean(is_less(budget, given[0], value));
    default:
      return Value::boolean(is_less_or_equal(budget, given[0], value));
  }
}

struct NamedTest {
  std::string_view name;
  FilterBody body;
};

constexpr std::array<NamedTest, 39> kTests = {{{"defined", answer<is_defined>},
                                               {"undefined", answer<is_undefined>},
                                               {"none", answer<is_none>},
                                               {"boolean", answer<is_boolean>},
                                               {"true", answer<is_the_true>},
                                               {"false", answer<is_the_false>},
                                               {"integer", answer<is_an_integer>},
                                               {"float", answer<is_a_float>},
                                               {"number", answer<is_a_number>},
                                               {"string", answer<is_a_string>},
                                               {"mapping", answer<is_a_mapping>},
                                               {"sequence", answer<is_a_sequence>},
                                               {"iterable", answer<is_iterable>},
                                               {"callable", answer<is_callable>},
                                               {"escaped", answer<is_escaped>},
                                               {"odd", is_odd},
                                               {"even", is_even},
                                               {"divisibleby", is_divisible},
                                               {"lower", has_case<false>},
                                               {"upper", has_case<true>},
                                               {"filter", is_a_filter},
                                               {"test", is_a_test},
                                               {"sameas", is_same},
                                               {"in", is_in},
                                               {"eq", compares<Comparison::kEqual>},
                                               {"equalto", compares<Comparison::kEqual>},
                                               {"==", compares<Comparison::kEqual>},
                                               {"ne", compares<Comparison::kNotEqual>},
                                               {"!=", compares<Comparison::kNotEqual>},
                                               {"lt", compares<Comparison::kLess>},
                                               {"lessthan", compares<Comparison::kLess>},
                                               {"<", compares<Comparison::kLess>},
                                               {"le", compares<Comparison::kLessOrEqual>},
                                               {"<=", compares<Comparison::kLessOrEqual>},
                                               {"gt", compares<Comparison::kGreater>},
                                               {"greaterthan", compares<Comparison::kGreater>},
                                               {">", compares<Comparison::kGreater>},
                                               {"ge", compares<Comparison::kGreaterOrEqual>},
                                               {">=", compares<Comparison::kGreaterOrEqual>}}};

}  // namespace

FilterBody find_test(std::string_view name) {
  const auto* found = std::ranges::find(kTests, name, &NamedTest::name);
  return found != kTests.end() ? found->body : nullptr;
}

}  // namespace fathom::jinja
