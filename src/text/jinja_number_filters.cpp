// Filters that give a number.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "text/hexadecimal.h"
#include "text/jinja_filters.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parameters.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

/// Without white space around it and "_" between digits, as Python reads numbers; nullopt where "_" stands
/// elsewhere.
std::optional<std::string> plain_number(std::string_view text) {
  text = strip(text, nullptr, Side::kBoth);
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      plain += text[i];
      continue;
    }
    const bool is_between = i > 0 && i + 1 < text.size() && hexadecimal_digit(text[i - 1]) < 16 &&
                            hexadecimal_digit(text[i + 1]) < 16;
    if (!is_between) return std::nullopt;
  }
  return plain;
}

/// Python's `int(text, base)`; nullopt where it raises ValueError.
std::optional<std::int64_t> read_integer(std::string_view text, std::int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  const auto plain = plain_number(text);
  if (!plain) return std::nullopt;
  std::string_view digits = *plain;
  const bool is_negative = digits.starts_with('-');
  if (is_negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.size() > 2 && digits[0] == '0') {
    const char letter = static_cast<char>(digits[1] | 0x20);
    const int prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefix != 0 && (base == 0 || base == prefix)) {
      base = prefix;
      digits.remove_prefix(2);
    }
  }
  if (base == 0) {
    if (digits.size() > 1 && digits[0] == '0' && digits.find_first_not_of('0') != std::string_view::npos)
      return std::nullopt;
    base = 10;
  }
  if (digits.empty() || digits[0] == '-') return std::nullopt;
  std::int64_t value = 0;
  const std::string signed_digits = (is_negative ? "-" : "") + std::string(digits);
  const auto [end, error] = std::from_chars(signed_digits.data(), signed_digits.data() + signed_digits.size(),
                                            value, static_cast<int>(base));
  if (end != signed_digits.data() + signed_digits.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) fault("a whole number is beyond 64 bits");
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

/// Python's `float(text)`; nullopt where it raises ValueError.
std::optional<double> read_float(std::string_view text) {
  const auto plain = plain_number(text);
  if (!plain) return std::nullopt;
  std::string_view digits = *plain;
  const bool is_negative = digits.starts_with('-');
  if (is_negative || digits.starts_with('+')) digits.remove_prefix(1);
  const std::string lower = to_lower(digits);
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = HUGE_VAL;
  } else if (lower == "nan") {
    value = std::nan("");
  } else {
    if (digits.empty() || digits.find_first_not_of("0123456789.eE+-") != std::string_view::npos)
      return std::nullopt;
    if (digits[0] == '+' || digits[0] == '-') return std::nullopt;
    const std::string terminated(digits);
    char* end = nullptr;
    value = std::strtod(terminated.c_str(), &end);
    if (end != terminated.c_str() + terminated.size()) return std::nullopt;
  }
  return is_negative ? -value : value;
}

std::int64_t truncated(double value) {
  if (!(std::abs(value) < 9.2e18)) fault("a whole number is beyond 64 bits");
  return static_cast<std::int64_t>(value);
}

Value int_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  const Parameters given("int", arguments, {"default", "base"});
  Value otherwise = given.value_or(0, Value::integer(0));
  if (value.is_undefined()) refuse_undefined(value);
  if (value.is_integral()) return Value::integer(value.integer());
  double number = 0;
  if (value.is_text()) {
    if (const auto whole = read_integer(value.str(), given.whole(1, 10))) return Value::integer(*whole);
    const auto real = read_float(value.str());
    if (!real) return otherwise;
    number = *real;
  } else if (value.is(Kind::kFloat)) {
    number = value.real();
    if (std::isinf(number)) fault("an infinite number is no whole one");
  } else {
    return otherwise;
  }
  return std::isfinite(number) ? Value::integer(truncated(number)) : otherwise;
}

Value float_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  const Parameters given("float", arguments, {"default"});
  if (value.is_undefined()) refuse_undefined(value);
  if (value.is_number()) return Value::real(value.real());
  if (value.is_text())
    if (const auto real = read_float(value.str())) return Value::real(*real);
  return given.value_or(0, Value::real(0));
}

Value abs_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  const Parameters none("abs", arguments, {});
  if (value.is_integral()) return value.integer() < 0 ? negated(value) : Value::integer(value.integer());
  if (value.is(Kind::kFloat)) return Value::real(std::abs(value.real()));
  if (value.is_undefined()) refuse_undefined(value);
  fault("abs takes a number, not a value of type {}", type_name(value));
}

/// To so many digits behind the point, halves to even.
double rounded(double value, std::int64_t precision) {
  if (!std::isfinite(value) || precision > 400) return value;
  if (precision >= 0) return std::strtod(fmt::format("{:.{}f}", value, precision).c_str(), nullptr);
  if (precision < -400) return std::copysign(0.0, value);
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  return std::nearbyint(value / unit) * unit;
}

Value round_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  const Parameters given("round", arguments, {"precision", "method"});
  const std::int64_t precision = given.whole(0, 0);
  const std::string method = given.has(1) ? given.text(1) : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    fault("method must be common, ceil or floor");
  if (value.is_undefined()) refuse_undefined(value);
  if (!value.is_number()) fault("round takes a number, not a value of type {}", type_name(value));
  if (method == "common") {
    if (!value.is_integral()) return Value::real(rounded(value.real(), precision));
    if (precision >= 0) return Value::integer(value.integer());
    return Value::integer(truncated(rounded(value.real(), precision)));
  }
  const double scale = std::pow(10.0, static_cast<double>(std::clamp<std::int64_t>(precision, -300, 300)));
  const double scaled = value.real() * scale;
  return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value length_filter(Interpreter& /*interpreter*/, const Value& value, const Arguments& arguments) {
  const Parameters none("length", arguments, {});
  const auto length = length_of(value);
  if (!length) fault("a value of type {} has no length", type_name(value));
  return Value::integer(*length);
}

Value sum_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("sum", arguments, {"attribute", "start"});
  Value total = given.value_or(1, Value::integer(0));
  if (total.is_text()) fault("sum adds no texts: use join");
  const NextItem next = iterate(interpreter.budget(), value);
  while (const auto item = next())
    total = compute(interpreter.budget(), Arithmetic::kAdd, total,
                    given.has_value(0) ? value_at_path(interpreter, *item, given[0]) : *item);
  return total;
}

Value wordcount_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("wordcount", arguments, {});
  const std::string text = str_of(interpreter.budget(), value);
  interpreter.budget().spend_on_bytes(text.size());
  std::int64_t words = 0;
  bool in_word = false;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    at += c.length;
    const bool is_word = c.code_point == '_' || is_alphabetic(c.code_point) || is_digit(c.code_point) ||
                         is_numeric(c.code_point);
    if (is_word && !in_word) ++words;
    in_word = is_word;
  }
  return Value::integer(words);
}

constexpr std::array<NamedFilter, 8> kNumberFilters = {{{"int", int_filter},
                                                        {"float", float_filter},
                                                        {"abs", abs_filter},
                                                        {"round", round_filter},
                                                        {"length", length_filter},
                                                        {"count", length_filter},
                                                        {"sum", sum_filter},
                                                        {"wordcount", wordcount_filter}}};

}  // namespace

FilterBody find_number_filter(std::string_view name) {
  const auto* found = std::ranges::find(kNumberFilters, name, &NamedFilter::name);
  return found != kNumberFilters.end() ? found->body : nullptr;
}

}  // namespace fathom::jinja
