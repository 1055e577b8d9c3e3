#include "text/jinja_operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja_format.h"
#include "text/jinja_loop.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

[[noreturn]] void unsupported(std::string_view operation, const Value& a, const Value& b) {
  if (a.is_undefined()) refuse_undefined(a);
  if (b.is_undefined()) refuse_undefined(b);
  fault("{} does not go with values of type {} and {}", operation, type_name(a), type_name(b));
}

std::string_view name_of(Arithmetic operation) {
  switch (operation) {
    case Arithmetic::kAdd:
      return "+";
    case Arithmetic::kSubtract:
      return "-";
    case Arithmetic::kMultiply:
      return "*";
    case Arithmetic::kDivide:
      return "/";
    case Arithmetic::kFloorDivide:
      return "//";
    case Arithmetic::kModulo:
      return "%";
    case Arithmetic::kPower:
      return "**";
  }
  return "?";
}

long double exact(const Value& number) {
  return number.is_integral() ? static_cast<long double>(number.integer())
                              : static_cast<long double>(number.real());
}

Value view_item(Budget& budget, const Value& view, std::size_t place) {
  const Dict::Entry& entry = view.dict().entries()[place];
  switch (view.view_kind()) {
    case ViewKind::kKeys:
      return entry.first;
    case ViewKind::kValues:
      return entry.second;
    case ViewKind::kItems:
      return Value::tuple(budget, {entry.first, entry.second});
  }
  return {};
}

bool are_equal_dicts(Budget& budget, const Dict& a, const Dict& b) {
  if (a.entries().size() != b.entries().size()) return false;
  return std::ranges::all_of(a.entries(), [&](const Dict::Entry& entry) {
    const Value* other = b.find(entry.first);
    return other != nullptr && are_equal(budget, entry.second, *other);
  });
}

/// Equal, or the very same, as Python's containers ask.
bool same_or_equal(Budget& budget, const Value& a, const Value& b) {
  return (a.kind() != Kind::kUndefined && a.same_as(b)) || are_equal(budget, a, b);
}

/// Which of two sequences comes first by `less`, once they differ; `by_length` where they do not.
template <typename Less>
bool compare_sequences(Budget& budget, const Value& a, const Value& b, const Less& less, bool when_equal) {
  const Budget::Level level(budget);
  const auto& left = a.items();
  const auto& right = b.items();
  for (std::size_t i = 0; i < left.size() && i < right.size(); ++i)
    if (!same_or_equal(budget, left[i], right[i])) return less(left[i], right[i]);
  return left.size() < right.size() || (when_equal && left.size() == right.size());
}

}  // namespace

void refuse_undefined(const Value& value) {
  throw Fault(value.undefined_message());
}

bool is_true(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.real() != 0;
    case Kind::kText:
      return !value.str().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
    case Kind::kView:
      return !value.dict().entries().empty();
    case Kind::kRange:
      return value.range().size() != 0;
    case Kind::kLoop:
      return value.loop().length() != 0;
    default:
      return true;
  }
}

bool are_equal(Budget& budget, const Value& a, const Value& b) {
  budget.spend();
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
    return exact(a) == exact(b);
  }
  if (a.kind() != b.kind()) {
    const auto is_set = [](const Value& value) {
      return value.is(Kind::kView) && value.view_kind() != ViewKind::kValues;
    };
    if (!is_set(a) || !is_set(b)) return false;
  }
  const Budget::Level level(budget);
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kText:
      budget.spend_on_bytes(std::min(a.str().size(), b.str().size()));
      return a.str() == b.str();
    case Kind::kList:
    case Kind::kTuple:
      return a.items().size() == b.items().size() &&
             std::ranges::equal(a.items(), b.items(), [&](const Value& left, const Value& right) {
               return same_or_equal(budget, left, right);
             });
    case Kind::kDict:
      return a.same_as(b) || are_equal_dicts(budget, a.dict(), b.dict());
    case Kind::kRange: {
      const Range& left = a.range();
      const Range& right = b.range();
      const std::int64_t size = left.size();
      return size == right.size() &&
             (size == 0 || (left.start == right.start && (size == 1 || left.step == right.step)));
    }
    case Kind::kView: {
      if (a.view_kind() == ViewKind::kValues || b.view_kind() == ViewKind::kValues) return a.same_as(b);
      if (a.dict().entries().size() != b.dict().entries().size()) return false;
      for (std::size_t i = 0; i < a.dict().entries().size(); ++i)
        if (!contains(budget, b, view_item(budget, a, i))) return false;
      return true;
    }
    default:
      return a.same_as(b);
  }
}

bool is_less(Budget& budget, const Value& a, const Value& b) {
  budget.spend();
  if (a.is_number() && b.is_number()) return exact(a) < exact(b);
  if (a.is_text() && b.is_text()) {
    budget.spend_on_bytes(std::min(a.str().size(), b.str().size()));
    return a.str() < b.str();
  }
  if (a.is_sequence() && a.kind() == b.kind())
    return compare_sequences(
        budget, a, b, [&](const Value& left, const Value& right) { return is_less(budget, left, right); },
        false);
  unsupported("comparing", a, b);
}

bool is_less_or_equal(Budget& budget, const Value& a, const Value& b) {
  budget.spend();
  if (a.is_number() && b.is_number()) return exact(a) <= exact(b);
  if (a.is_text() && b.is_text()) {
    budget.spend_on_bytes(std::min(a.str().size(), b.str().size()));
    return a.str() <= b.str();
  }
  if (a.is_sequence() && a.kind() == b.kind())
    return compare_sequences(
        budget, a, b,
        [&](const Value& left, const Value& right) { return is_less_or_equal(budget, left, right); }, true);
  unsupported("comparing", a, b);
}

bool contains(Budget& budget, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kText:
      if (!item.is_text()) fault("only a text can be in a text, not a value of type {}", type_name(item));
      budget.spend_on_bytes(container.str().size());
      return find_part(container.str(), item.str()) != std::string_view::npos;
    case Kind::kDict:
      return container.dict().find(item) != nullptr;
    case Kind::kView:
      if (container.view_kind() == ViewKind::kKeys) return container.dict().find(item) != nullptr;
      if (container.view_kind() == ViewKind::kItems) {
        if (!item.is(Kind::kTuple) || item.items().size() != 2) return false;
        const Value* value = container.dict().find(item.items()[0]);
        return value != nullptr && same_or_equal(budget, *value, item.items()[1]);
      }
      break;
    case Kind::kRange:
      if (item.is_number()) {
        const Range& range = container.range();
        if (exact(item) != std::floor(exact(item)) || range.size() == 0) return false;
        const std::int64_t last = range.start + (range.size() - 1) * range.step;
        const auto [low, high] = std::minmax(range.start, last);
        if (exact(item) < low || exact(item) > high) return false;
        return (static_cast<std::int64_t>(exact(item)) - range.start) % range.step == 0;
      }
      return false;
    default:
      break;
  }
  const NextItem next = iterate(budget, container);
  while (const auto candidate = next())
    if (same_or_equal(budget, *candidate, item)) return true;
  return false;
}

namespace {

Value whole_result(bool overflows, std::int64_t value, Arithmetic operation) {
  if (overflows) fault("the result of {} is beyond whole numbers of 64 bits", name_of(operation));
  return Value::integer(value);
}

Value power(const Value& base, const Value& exponent) {
  if (base.is_integral() && exponent.is_integral() && exponent.integer() >= 0) {
    std::int64_t result = 1;
    std::int64_t factor = base.integer();
    for (std::int64_t left = exponent.integer(); left > 0; left /= 2) {
      if (left % 2 == 1 && __builtin_mul_overflow(result, factor, &result))
        return whole_result(true, 0, Arithmetic::kPower);
      if (left > 1 && __builtin_mul_overflow(factor, factor, &factor))
        return whole_result(true, 0, Arithmetic::kPower);
    }
    return Value::integer(result);
  }
  if (base.real() == 0 && exponent.real() < 0) fault("0 to a negative power");
  const double result = std::pow(base.real(), exponent.real());
  if (std::isnan(result) && !std::isnan(base.real()) && !std::isnan(exponent.real()))
    fault("a broken power of a negative number");
  if (std::isinf(result) && !std::isinf(base.real()) && !std::isinf(exponent.real()))
    fault("the result of ** is too large");
  return Value::real(result);
}

double float_modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  if ((b < 0) != (rest < 0)) rest += b;
  return rest;
}

double float_floor_divide(double a, double b) {
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double down = std::floor(quotient);
  return quotient - down > 0.5 ? down + 1 : down;
}

Value compute_whole(Arithmetic operation, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (operation == Arithmetic::kAdd || operation == Arithmetic::kSubtract ||
      operation == Arithmetic::kMultiply) {
    const bool overflows = operation == Arithmetic::kAdd        ? __builtin_add_overflow(a, b, &result)
                           : operation == Arithmetic::kSubtract ? __builtin_sub_overflow(a, b, &result)
                                                                : __builtin_mul_overflow(a, b, &result);
    return whole_result(overflows, result, operation);
  }
  if (b == 0) fault("division by zero");
  if (operation == Arithmetic::kDivide)
    return Value::real(static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
  if (b == -1) {  // the one divisor by which a quotient may be too large
    if (operation == Arithmetic::kModulo) return Value::integer(0);
    const bool overflows = __builtin_sub_overflow(std::int64_t{0}, a, &result);
    return whole_result(overflows, result, operation);
  }
  const bool rounds_up = a % b != 0 && (a % b < 0) != (b < 0);
  if (operation == Arithmetic::kFloorDivide) return Value::integer(a / b - (rounds_up ? 1 : 0));
  return Value::integer(a % b + (rounds_up ? b : 0));
}

Value compute_real(Arithmetic operation, double a, double b) {
  switch (operation) {
    case Arithmetic::kAdd:
      return Value::real(a + b);
    case Arithmetic::kSubtract:
      return Value::real(a - b);
    case Arithmetic::kMultiply:
      return Value::real(a * b);
    default:
      break;
  }
  if (b == 0) fault("division by zero");
  if (operation == Arithmetic::kDivide) return Value::real(a / b);
  return Value::real(operation == Arithmetic::kModulo ? float_modulo(a, b) : float_floor_divide(a, b));
}

Value joined(Budget& budget, const Value& a, const Value& b) {
  if (a.is_text()) {
    const bool is_markup = a.text().is_markup || b.text().is_markup;
    TextBuilder out(budget);
    out.append(is_markup && !a.text().is_markup ? html_escaped(budget, a.str()) : a.str());
    out.append(is_markup && !b.text().is_markup ? html_escaped(budget, b.str()) : b.str());
    return Value::text(budget, out.take(), is_markup);
  }
  Budget::check_items(a.items().size() + b.items().size());
  budget.spend(a.items().size() + b.items().size());
  std::vector<Value> items;
  items.reserve(a.items().size() + b.items().size());
  items.insert(items.end(), a.items().begin(), a.items().end());
  items.insert(items.end(), b.items().begin(), b.items().end());
  return a.is(Kind::kList) ? Value::list(budget, std::move(items)) : Value::tuple(budget, std::move(items));
}

Value repeated(Budget& budget, const Value& what, std::int64_t times) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
  if (what.is_text()) {
    const std::size_t size = what.str().size();
    if (size > 0 && count > Budget::kMaxTextBytes / size) Budget::check_text_bytes(Budget::kMaxTextBytes + 1);
    budget.spend_on_bytes(count * size);
    std::string text;
    text.reserve(count * size);
    for (std::size_t i = 0; i < count && size > 0; ++i) text += what.str();
    return Value::text(budget, std::move(text), what.text().is_markup);
  }
  if (!what.items().empty() && count > Budget::kMaxItems / what.items().size())
    Budget::check_items(Budget::kMaxItems + 1);
  std::vector<Value> items;
  budget.spend(count * what.items().size());
  for (std::size_t i = 0; i < count && !what.items().empty(); ++i)
    items.insert(items.end(), what.items().begin(), what.items().end());
  return what.is(Kind::kList) ? Value::list(budget, std::move(items))
                              : Value::tuple(budget, std::move(items));
}

}  // namespace

Value compute(Budget& budget, Arithmetic operation, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (operation == Arithmetic::kPower) return power(a, b);
    if (a.is_integral() && b.is_integral()) return compute_whole(operation, a.integer(), b.integer());
    return compute_real(operation, a.real(), b.real());
  }
  if (operation == Arithmetic::kAdd &&
      ((a.is_text() && b.is_text()) || (a.is_sequence() && a.kind() == b.kind())))
    return joined(budget, a, b);
  if (operation == Arithmetic::kMultiply) {
    if ((a.is_text() || a.is_sequence()) && b.is_integral()) return repeated(budget, a, b.integer());
    if ((b.is_text() || b.is_sequence()) && a.is_integral()) return repeated(budget, b, a.integer());
  }
  if (operation == Arithmetic::kModulo && a.is_text()) return percent_format(budget, a, b);
  unsupported(name_of(operation), a, b);
}

Value negated(const Value& value) {
  if (value.is_integral()) return compute_whole(Arithmetic::kSubtract, 0, value.integer());
  if (value.is(Kind::kFloat)) return Value::real(-value.real());
  if (value.is_undefined()) refuse_undefined(value);
  fault("a value of type {} has no negative", type_name(value));
}

Value positive(const Value& value) {
  if (value.is_integral()) return Value::integer(value.integer());
  if (value.is(Kind::kFloat)) return value;
  if (value.is_undefined()) refuse_undefined(value);
  fault("+ goes with numbers, not with a value of type {}", type_name(value));
}

std::optional<std::int64_t> length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kText:
      return value.text().is_ascii ? static_cast<std::int64_t>(value.str().size())
                                   : count_characters(value.str());
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<std::int64_t>(value.items().size());
    case Kind::kDict:
    case Kind::kView:
      return static_cast<std::int64_t>(value.dict().entries().size());
    case Kind::kRange:
      return value.range().size();
    case Kind::kLoop:
      return value.loop().length();
    default:
      return std::nullopt;
  }
}

bool is_iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kText:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kRange:
    case Kind::kIterator:
    case Kind::kLoop:
      return true;
    default:
      return false;
  }
}

NextItem iterate(Budget& budget, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return [] { return std::optional<Value>(); };
    case Kind::kText:
      return [&budget, value, at = std::size_t{0}]() mutable -> std::optional<Value> {
        if (at >= value.str().size()) return std::nullopt;
        budget.spend();
        const Character c = character_at(value.str(), at);
        at += c.length;
        return Value::text(budget, value.str().substr(c.begin, c.length), value.text().is_markup);
      };
    case Kind::kList:
    case Kind::kTuple:
      return [&budget, value, at = std::size_t{0}]() mutable -> std::optional<Value> {
        if (at >= value.items().size()) return std::nullopt;
        budget.spend();
        return value.items()[at++];
      };
    case Kind::kDict:
      return iterate(budget, Value::view(value, ViewKind::kKeys));
    case Kind::kView:
      return [&budget, value, at = std::size_t{0}]() mutable -> std::optional<Value> {
        if (at >= value.dict().entries().size()) return std::nullopt;
        budget.spend();
        return view_item(budget, value, at++);
      };
    case Kind::kRange:
      return [&budget, range = value.range(), at = std::int64_t{0}]() mutable -> std::optional<Value> {
        if (at >= range.size()) return std::nullopt;
        budget.spend();
        return Value::integer(range.start + at++ * range.step);
      };
    case Kind::kIterator:
      return [&budget, value] {
        const Budget::Level level(budget);
        budget.spend();
        return value.next_item()();
      };
    default:
      fault("a value of type {} cannot be iterated over", type_name(value));
  }
}

std::vector<Value> items_of(Budget& budget, const Value& value) {
  if (value.is_sequence()) {
    budget.spend(value.items().size());
    return value.items();
  }
  std::vector<Value> items;
  const NextItem next = iterate(budget, value);
  while (auto item = next()) {
    Budget::check_items(items.size() + 1);
    items.push_back(std::move(*item));
  }
  return items;
}

std::optional<Value> item_at(Budget& budget, const Value& container, const Value& index) {
  if (container.is(Kind::kDict)) {
    try {
      const Value* value = container.dict().find(index);
      return value != nullptr ? std::optional(*value) : std::nullopt;
    } catch (const Fault&) {  // no key can be like that
      return std::nullopt;
    }
  }
  if (container.is_undefined()) refuse_undefined(container);
  if (!index.is_integral()) return std::nullopt;
  if (!container.is_text() && !container.is_sequence() && !container.is(Kind::kRange)) return std::nullopt;
  const std::int64_t length = *length_of(container);
  const std::int64_t at = index.integer() < 0 ? index.integer() + length : index.integer();
  if (at < 0 || at >= length) return std::nullopt;
  if (container.is_sequence()) return container.items()[static_cast<std::size_t>(at)];
  if (container.is(Kind::kRange))
    return Value::integer(container.range().start + at * container.range().step);
  const std::string& text = container.str();
  if (container.text().is_ascii)
    return Value::text(budget, text.substr(static_cast<std::size_t>(at), 1), container.text().is_markup);
  budget.spend_on_bytes(text.size());
  const Character c = character_at(text, byte_of_character(text, at));
  return Value::text(budget, text.substr(c.begin, c.length), container.text().is_markup);
}

std::int64_t whole_number(const Value& value, std::string_view what) {
  if (value.is_integral()) return value.integer();
  if (value.is_undefined()) refuse_undefined(value);
  fault("{} must be a whole number, not a value of type {}", what, type_name(value));
}

namespace {

struct Slice {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::int64_t size = 0;
};

/// As Python's `slice.indices`.
Slice resolve_slice(std::int64_t length, const Value& start, const Value& stop, const Value& step) {
  const auto bound = [&](const Value& value, std::int64_t otherwise, bool backwards) {
    if (value.is_none()) return otherwise;
    std::int64_t at = whole_number(value, "a bound of a slice");
    if (at < 0) at = at < -length ? -1 : at + length;
    if (at < 0) return backwards ? std::int64_t{-1} : std::int64_t{0};
    if (at >= length) return backwards ? length - 1 : length;
    return at;
  };
  Slice slice;
  slice.step = step.is_none() ? 1 : whole_number(step, "the step of a slice");
  if (slice.step == 0) fault("the step of a slice cannot be zero");
  slice.step = std::clamp(slice.step, -length - 1, length + 1);  // beyond, no second item is reached either
  const bool backwards = slice.step < 0;
  slice.start = bound(start, backwards ? length - 1 : 0, backwards);
  const std::int64_t end = bound(stop, backwards ? -1 : length, backwards);
  slice.size = Range{slice.start, end, slice.step}.size();
  return slice;
}

std::string slice_text(Budget& budget, const Text& text, const Slice& slice) {
  budget.spend_on_bytes(text.text.size());
  if (slice.step == 1) {
    if (text.is_ascii)
      return text.text.substr(static_cast<std::size_t>(slice.start), static_cast<std::size_t>(slice.size));
    const std::size_t begin = byte_of_character(text.text, slice.start);
    const std::string_view rest = std::string_view(text.text).substr(begin);
    return std::string(rest.substr(0, byte_of_character(rest, slice.size)));
  }
  std::string out;
  if (text.is_ascii) {
    for (std::int64_t i = 0, at = slice.start; i < slice.size; ++i, at += i < slice.size ? slice.step : 0)
      out += text.text[static_cast<std::size_t>(at)];
    return out;
  }
  std::vector<std::string_view> characters;
  Budget::check_items(static_cast<std::size_t>(count_characters(text.text)));
  for (std::size_t at = 0; at < text.text.size();) {
    const Character c = character_at(text.text, at);
    characters.push_back(std::string_view(text.text).substr(c.begin, c.length));
    at += c.length;
  }
  budget.spend(characters.size());
  for (std::int64_t i = 0, at = slice.start; i < slice.size; ++i, at += i < slice.size ? slice.step : 0)
    out += characters[static_cast<std::size_t>(at)];
  return out;
}

}  // namespace

Value slice_of(Budget& budget, const Value& container, const Value& start, const Value& stop,
               const Value& step) {
  if (container.is_undefined()) refuse_undefined(container);
  if (!container.is_text() && !container.is_sequence() && !container.is(Kind::kRange))
    fault("a value of type {} cannot be sliced", type_name(container));
  const Slice slice = resolve_slice(*length_of(container), start, stop, step);
  if (container.is_text())
    return Value::text(budget, slice_text(budget, container.text(), slice), container.text().is_markup);
  if (container.is(Kind::kRange)) {
    const Range& range = container.range();
    const std::int64_t new_step = range.step * slice.step;  // `range` takes small numbers alone
    const std::int64_t new_start = range.start + slice.start * range.step;
    return Value::range({new_start, new_start + slice.size * new_step, new_step});
  }
  std::vector<Value> items;
  budget.spend(static_cast<std::size_t>(slice.size));
  for (std::int64_t i = 0, at = slice.start; i < slice.size; ++i, at += i < slice.size ? slice.step : 0)
    items.push_back(container.items()[static_cast<std::size_t>(at)]);
  return container.is(Kind::kList) ? Value::list(budget, std::move(items))
                                   : Value::tuple(budget, std::move(items));
}

std::string html_escaped(Budget& budget, std::string_view text) {
  TextBuilder out(budget);
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string_view entity;
    switch (text[at]) {
      case '&':
        entity = "&amp;";
        break;
      case '<':
        entity = "&lt;";
        break;
      case '>':
        entity = "&gt;";
        break;
      case '"':
        entity = "&#34;";
        break;
      case '\'':
        entity = "&#39;";
        break;
      default:
        continue;
    }
    out.append(text.substr(begin, at - begin));
    out.append(entity);
    begin = at + 1;
  }
  out.append(text.substr(begin));
  return out.take();
}

}  // namespace fathom::jinja
