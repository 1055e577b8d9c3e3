#include "text/jinja_format.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "text/jinja_operators.h"
#include "text/jinja_repr.h"
#include "text/jinja_text.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

constexpr std::int64_t kMaxPrecision = 1000;

/// `repr`, with \u escapes for what is not ASCII.
std::string ascii_repr(Budget& budget, const Value& value) {
  const std::string text = repr_of(budget, value);
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    at += c.length;
    Budget::check_text_bytes(out.size());
    if (c.code_point < 0x80) {
      out += static_cast<char>(c.code_point);
    } else if (c.code_point < 0x100) {
      out += fmt::format("\\x{:02x}", c.code_point);
    } else if (c.code_point < 0x10000) {
      out += fmt::format("\\u{:04x}", c.code_point);
    } else {
      out += fmt::format("\\U{:08x}", c.code_point);
    }
  }
  return out;
}

/// The digits of a float without sign, as types e, f and g of Python's formats write them.
std::string float_digits(double value, char type, std::int64_t precision, bool alternate) {
  const bool is_upper = type == 'E' || type == 'F' || type == 'G';
  if (std::isnan(value)) return is_upper ? "NAN" : "nan";
  value = std::abs(value);
  if (std::isinf(value)) return is_upper ? "INF" : "inf";
  const auto digits = static_cast<int>(precision);
  switch (type) {
    case 'e':
      return alternate ? fmt::format("{:#.{}e}", value, digits) : fmt::format("{:.{}e}", value, digits);
    case 'E':
      return alternate ? fmt::format("{:#.{}E}", value, digits) : fmt::format("{:.{}E}", value, digits);
    case 'g':
      return alternate ? fmt::format("{:#.{}g}", value, digits) : fmt::format("{:.{}g}", value, digits);
    case 'G':
      return alternate ? fmt::format("{:#.{}G}", value, digits) : fmt::format("{:.{}G}", value, digits);
    default:
      return alternate ? fmt::format("{:#.{}f}", value, digits) : fmt::format("{:.{}f}", value, digits);
  }
}

std::string whole_digits(std::int64_t value, char type, bool alternate) {
  const std::uint64_t magnitude =
      value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  switch (type) {
    case 'x':
      return (alternate ? "0x" : "") + fmt::format("{:x}", magnitude);
    case 'X':
      return (alternate ? "0X" : "") + fmt::format("{:X}", magnitude);
    case 'o':
      return (alternate ? "0o" : "") + fmt::format("{:o}", magnitude);
    case 'b':
      return (alternate ? "0b" : "") + fmt::format("{:b}", magnitude);
    default:
      return std::to_string(magnitude);
  }
}

std::int64_t read_count(std::string_view text, std::size_t& at) {
  std::int64_t count = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    count = count * 10 + (text[at] - '0');
    if (count > static_cast<std::int64_t>(Budget::kMaxTextBytes)) fault("a width in a format is too large");
  }
  return count;
}

std::string first_characters(std::string_view text, std::int64_t count) {
  return std::string(text.substr(0, byte_of_character(text, count)));
}

/// What stands between % and the letter of a conversion, and the letter.
struct Conversion {
  std::optional<std::string_view> key;
  bool left = false;
  bool zero = false;
  bool plus = false;
  bool space = false;
  bool alternate = false;
  std::int64_t width = 0;
  std::optional<std::int64_t> precision;
  char type = '\0';
};

class PercentFormatter {
 public:
  PercentFormatter(Budget& budget, const Value& text, const Value& values)
      : budget_(budget),
        text_(text.str()),
        is_markup_(text.text().is_markup),
        values_(values),
        out_(budget) {}

  Value run() {
    for (std::size_t percent = text_.find('%', at_); percent != std::string::npos;
         percent = text_.find('%', at_)) {
      out_.append(std::string_view(text_).substr(at_, percent - at_));
      at_ = percent + 1;
      convert();
    }
    out_.append(std::string_view(text_).substr(at_));
    const bool is_mapping = values_.is(Kind::kDict) || values_.is(Kind::kList);
    const std::size_t given = values_.is(Kind::kTuple) ? values_.items().size() : 1;
    if (!is_mapping && taken_ < given) fault("more values than the format takes");
    return Value::text(budget_, out_.take(), is_markup_);
  }

 private:
  [[nodiscard]] char peek() const {
    if (at_ >= text_.size()) fault("a format ends behind %");
    return text_[at_];
  }

  Value next_value() {
    if (values_.is(Kind::kTuple)) {
      if (taken_ >= values_.items().size()) fault("fewer values than the format takes");
      return values_.items()[taken_++];
    }
    if (taken_++ > 0) fault("fewer values than the format takes");
    return values_;
  }

  std::int64_t count() {
    if (peek() != '*') return read_count(text_, at_);
    ++at_;
    const std::int64_t value = whole_number(next_value(), "a width in a format");
    if (std::abs(value) > static_cast<std::int64_t>(Budget::kMaxTextBytes))
      fault("a width in a format is too large");
    return value;
  }

  Conversion read() {
    Conversion conversion;
    if (peek() == '(') {
      const std::size_t begin = ++at_;
      for (int open = 1; open > 0; ++at_) {
        if (peek() == '(') ++open;
        if (peek() == ')') --open;
      }
      conversion.key = std::string_view(text_).substr(begin, at_ - 1 - begin);
    }
    for (;; ++at_) {
      const char c = peek();
      if (c == '-')
        conversion.left = true;
      else if (c == '0')
        conversion.zero = true;
      else if (c == '+')
        conversion.plus = true;
      else if (c == ' ')
        conversion.space = true;
      else if (c == '#')
        conversion.alternate = true;
      else
        break;
    }
    conversion.width = count();
    if (conversion.width < 0) {
      conversion.left = true;
      conversion.width = -conversion.width;
    }
    if (peek() == '.') {
      ++at_;
      conversion.precision = std::max<std::int64_t>(count(), 0);
    }
    if (peek() == 'h' || peek() == 'l' || peek() == 'L') ++at_;
    conversion.type = peek();
    ++at_;
    return conversion;
  }

  void convert() {
    const Conversion conversion = read();
    if (conversion.type == '%') return out_.append("%");
    Value value;
    if (conversion.key) {
      const Value* found = values_.is(Kind::kDict) ? values_.dict().find(*conversion.key) : nullptr;
      if (found == nullptr)
        fault("the format asks for {}, which is not given", repr_of_text(*conversion.key));
      value = *found;
      taken_ = 1;
    } else {
      value = next_value();
    }
    switch (conversion.type) {
      case 's':
      case 'r':
      case 'a':
        return text(conversion, value);
      case 'c':
        return character(conversion, value);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return whole(conversion, value);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return real(conversion, value);
      default:
        fault("the format %{} is not known", printable_type(conversion.type));
    }
  }

  static std::string printable_type(char type) {
    return repr_of_text(std::string(1, type >= 0 ? type : '?'));
  }

  void text(const Conversion& conversion, const Value& value) {
    std::string shown = conversion.type == 's'   ? str_of(budget_, value)
                        : conversion.type == 'r' ? repr_of(budget_, value)
                                                 : ascii_repr(budget_, value);
    if (is_markup_ && !(value.is_text() && value.text().is_markup && conversion.type == 's'))
      shown = html_escaped(budget_, shown);
    if (conversion.precision) shown = first_characters(shown, *conversion.precision);
    pad(conversion, "", shown, false);
  }

  void character(const Conversion& conversion, const Value& value) {
    std::string shown;
    if (value.is_text() && count_characters(value.str()) == 1) {
      shown = value.str();
    } else {
      const std::int64_t code = whole_number(value, "%c");
      if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        fault("%c: {} is no character", code);
      append_code_point(static_cast<std::uint32_t>(code), shown);
    }
    pad(conversion, "", shown, false);
  }

  [[nodiscard]] static std::string_view sign(const Conversion& conversion, bool is_negative) {
    if (is_negative) return "-";
    if (conversion.plus) return "+";
    return conversion.space ? " " : "";
  }

  void whole(const Conversion& conversion, const Value& value) {
    std::int64_t number = 0;
    const bool is_decimal = conversion.type == 'd' || conversion.type == 'i' || conversion.type == 'u';
    if (value.is(Kind::kFloat) && is_decimal) {
      if (!(std::abs(value.real()) < 9e18)) fault("%d: the number is too large");
      number = static_cast<std::int64_t>(value.real());
    } else {
      number = whole_number(value, "the value of a format of whole numbers");
    }
    std::string digits = whole_digits(number, is_decimal ? 'd' : conversion.type, false);
    if (conversion.precision && *conversion.precision > static_cast<std::int64_t>(digits.size())) {
      Budget::check_text_bytes(static_cast<std::size_t>(*conversion.precision));
      digits.insert(0, static_cast<std::size_t>(*conversion.precision) - digits.size(), '0');
    }
    std::string prefix(sign(conversion, number < 0));
    if (conversion.alternate && !is_decimal) prefix += std::string("0") + conversion.type;
    pad(conversion, prefix, digits, true);
  }

  void real(const Conversion& conversion, const Value& value) {
    if (value.is_undefined()) refuse_undefined(value);
    if (!value.is_number()) fault("a format of numbers got a value of type {}", type_name(value));
    std::int64_t precision = conversion.precision.value_or(6);
    if (precision > kMaxPrecision) fault("a precision in a format is too large");
    const double number = value.real();
    pad(conversion, sign(conversion, std::signbit(number) && !std::isnan(number)),
        float_digits(number, conversion.type, precision, conversion.alternate), true);
  }

  void pad(const Conversion& conversion, std::string_view prefix, std::string_view shown, bool is_number) {
    const std::int64_t length = static_cast<std::int64_t>(prefix.size()) + count_characters(shown);
    const auto missing = static_cast<std::size_t>(std::max<std::int64_t>(conversion.width - length, 0));
    const bool with_zeros = conversion.zero && is_number && !conversion.left;
    if (!conversion.left && !with_zeros) out_.append(missing, ' ');
    out_.append(prefix);
    if (with_zeros) out_.append(missing, '0');
    out_.append(shown);
    if (conversion.left) out_.append(missing, ' ');
  }

  Budget& budget_;
  const std::string& text_;
  const bool is_markup_;
  const Value& values_;
  TextBuilder out_;
  std::size_t at_ = 0;
  std::size_t taken_ = 0;
};

/// "[[fill]align][sign][#][0][width][grouping][.precision][type]"
struct Spec {
  std::string fill = " ";
  char align = '\0';
  char sign = '-';
  bool alternate = false;
  std::int64_t width = 0;
  char grouping = '\0';
  std::optional<std::int64_t> precision;
  char type = '\0';
};

Spec read_spec(std::string_view text) {
  Spec spec;
  std::size_t at = 0;
  const auto peek = [&] { return at < text.size() ? text[at] : '\0'; };
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '=' || c == '^'; };
  if (!text.empty()) {
    const Character first = character_at(text, 0);
    if (first.length < text.size() && is_align(text[first.length])) {
      spec.fill = std::string(text.substr(0, first.length));
      spec.align = text[first.length];
      at = first.length + 1;
    } else if (is_align(text[0])) {
      spec.align = text[0];
      at = 1;
    }
  }
  if (peek() == '+' || peek() == '-' || peek() == ' ') spec.sign = text[at++];
  if (peek() == '#') {
    spec.alternate = true;
    ++at;
  }
  if (peek() == '0') {
    if (spec.align == '\0') {
      spec.fill = "0";
      spec.align = '=';
    }
    ++at;
  }
  spec.width = read_count(text, at);
  if (peek() == ',' || peek() == '_') spec.grouping = text[at++];
  if (peek() == '.') {
    ++at;
    if (peek() < '0' || peek() > '9') fault("a format lacks the precision behind its point");
    spec.precision = read_count(text, at);
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) fault("the format {} is not valid", repr_of_text(text));
  return spec;
}

std::string grouped(std::string digits, char separator, std::size_t group) {
  const std::size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  for (std::size_t at = whole; at > group; at -= group) digits.insert(at - group, 1, separator);
  return digits;
}

class SpecFormatter {
 public:
  SpecFormatter(Budget& budget, std::string_view text)
      : budget_(budget), text_(text), spec_(read_spec(text)) {}

  std::string run(const Value& value) {
    if (value.is_text()) return as_text(value.str());
    if (value.is_integral() && is_whole_type()) return as_whole(value.integer());
    if (value.is_number()) return as_real(value);
    fault("a value of type {} takes no format, not {}", type_name(value), repr_of_text(text_));
  }

 private:
  [[nodiscard]] bool is_whole_type() const {
    return spec_.type == '\0' || std::string_view("bcdnoxX").find(spec_.type) != std::string_view::npos;
  }

  std::string as_text(std::string_view shown) {
    if (spec_.type != '\0' && spec_.type != 's') refuse("a text");
    if (spec_.align == '=') refuse("a text");
    std::string cut(shown);
    if (spec_.precision) cut = first_characters(shown, *spec_.precision);
    return padded("", cut, '<');
  }

  std::string as_whole(std::int64_t value) {
    if (spec_.precision) refuse("a whole number");
    if (spec_.type == 'c') {
      if (value < 0 || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        refuse("what is no character");
      std::string shown;
      append_code_point(static_cast<std::uint32_t>(value), shown);
      return padded("", shown, '<');
    }
    std::string prefix(sign(value < 0));
    std::string digits =
        whole_digits(value, spec_.type == '\0' || spec_.type == 'n' ? 'd' : spec_.type, false);
    if (spec_.alternate && spec_.type != '\0' && spec_.type != 'd' && spec_.type != 'n')
      prefix += std::string("0") + spec_.type;
    if (spec_.grouping != '\0')
      digits = grouped(digits, spec_.grouping, spec_.type == '\0' || spec_.type == 'd' ? 3 : 4);
    return padded(prefix, digits, '>');
  }

  std::string as_real(const Value& value) {
    const double number = value.real();
    if (spec_.precision.value_or(0) > kMaxPrecision) refuse("a number");
    std::string digits;
    switch (spec_.type) {
      case '\0':
        if (spec_.precision) {
          digits = float_digits(number, 'g', std::max<std::int64_t>(*spec_.precision, 1), spec_.alternate);
          if (digits.find_first_of(".en") == std::string::npos) digits += ".0";
        } else {
          digits = repr_of_float(std::abs(number));
        }
        break;
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        digits = float_digits(number, spec_.type, spec_.precision.value_or(6), spec_.alternate);
        break;
      case 'n':
        digits = float_digits(number, 'g', spec_.precision.value_or(6), spec_.alternate);
        break;
      case '%':
        digits = float_digits(number * 100, 'f', spec_.precision.value_or(6), spec_.alternate) + "%";
        break;
      default:
        refuse("a number");
    }
    if (spec_.grouping != '\0') digits = grouped(digits, spec_.grouping, 3);
    return padded(sign(std::signbit(number) && !std::isnan(number)), digits, '>');
  }

  [[noreturn]] void refuse(std::string_view what) const {
    fault("the format {} does not go with {}", repr_of_text(text_), what);
  }

  [[nodiscard]] std::string_view sign(bool is_negative) const {
    if (is_negative) return "-";
    if (spec_.sign == '+') return "+";
    return spec_.sign == ' ' ? " " : "";
  }

  std::string padded(std::string_view prefix, std::string_view shown, char usual) {
    const std::int64_t length = static_cast<std::int64_t>(prefix.size()) + count_characters(shown);
    const std::int64_t missing = std::max<std::int64_t>(spec_.width - length, 0);
    const char align = spec_.align != '\0' ? spec_.align : usual;
    const std::int64_t before = align == '>' || align == '=' ? missing : align == '^' ? missing / 2 : 0;
    TextBuilder out(budget_);
    const auto fill = [&](std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) out.append(spec_.fill);
    };
    if (align != '=') fill(before);
    out.append(prefix);
    if (align == '=') fill(before);
    out.append(shown);
    fill(missing - before);
    return out.take();
  }

  Budget& budget_;
  std::string_view text_;
  Spec spec_;
};

std::string formatted(Budget& budget, const Value& value, std::string_view spec) {
  if (spec.empty()) return str_of(budget, value);
  return SpecFormatter(budget, spec).run(value);
}

class BraceFormatter {
 public:
  BraceFormatter(Budget& budget, const FieldValue& value_of) : budget_(budget), value_of_(value_of) {}

  std::string run(std::string_view text, int depth) {
    if (depth > 1) fault("a format nests its fields too deep");
    TextBuilder out(budget_);
    std::size_t at = 0;
    while (at < text.size()) {
      const std::size_t brace = std::min(text.find_first_of("{}", at), text.size());
      out.append(text.substr(at, brace - at));
      at = brace + 1;
      if (brace == text.size()) break;
      if (at < text.size() && text[at] == text[brace]) {
        out.append(text.substr(at++, 1));
        continue;
      }
      if (text[brace] == '}') fault("a format has a single '}}'");
      const std::size_t end = end_of_field(text, at);
      out.append(field(text.substr(at, end - at), depth));
      at = end + 1;
    }
    return out.take();
  }

 private:
  static std::size_t end_of_field(std::string_view text, std::size_t at) {
    for (int open = 1; at < text.size(); ++at) {
      if (text[at] == '{') ++open;
      if (text[at] == '}' && --open == 0) return at;
    }
    fault("a format has a single '{{'");
  }

  std::string field(std::string_view text, int depth) {
    // A '!' or ':' inside brackets belongs to the key there.
    std::size_t end = 0;
    for (bool in_brackets = false; end < text.size(); ++end) {
      if (text[end] == '[') in_brackets = true;
      if (text[end] == ']') in_brackets = false;
      if (!in_brackets && (text[end] == '!' || text[end] == ':')) break;
    }
    const Value value = value_of_(text.substr(0, end));
    text.remove_prefix(end);
    char conversion = '\0';
    if (text.starts_with('!')) {
      if (text.size() < 2 || (text.size() > 2 && text[2] != ':'))
        fault("a format has a conversion that is not known");
      conversion = text[1];
      text.remove_prefix(2);
    }
    if (text.starts_with(':')) text.remove_prefix(1);
    const std::string spec =
        text.find('{') == std::string_view::npos ? std::string(text) : run(text, depth + 1);
    switch (conversion) {
      case '\0':
        return formatted(budget_, value, spec);
      case 's':
        return formatted(budget_, Value::text(budget_, str_of(budget_, value)), spec);
      case 'r':
        return formatted(budget_, Value::text(budget_, repr_of(budget_, value)), spec);
      case 'a':
        return formatted(budget_, Value::text(budget_, ascii_repr(budget_, value)), spec);
      default:
        fault("a format has a conversion that is not known");
    }
  }

  Budget& budget_;
  const FieldValue& value_of_;
};

}  // namespace

Value percent_format(Budget& budget, const Value& text, const Value& values) {
  return PercentFormatter(budget, text, values).run();
}

std::string brace_format(Budget& budget, std::string_view text, const FieldValue& value_of) {
  return BraceFormatter(budget, value_of).run(text, 0);
}

}  // namespace fathom::jinja
