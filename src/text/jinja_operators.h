#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace fathom::jinja {

// Python's operators. Each throws `Fault` where Python raises.

bool is_true(const Value& value);
bool are_equal(Budget& budget, const Value& a, const Value& b);
/// `a < b`
bool is_less(Budget& budget, const Value& a, const Value& b);
/// `a <= b`, which is not the same as `not b < a` where one is not a number.
bool is_less_or_equal(Budget& budget, const Value& a, const Value& b);
/// `item in container`
bool contains(Budget& budget, const Value& container, const Value& item);

enum class Arithmetic : std::uint8_t { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
Value compute(Budget& budget, Arithmetic operation, const Value& a, const Value& b);
Value negated(const Value& value);
/// `+value`
Value positive(const Value& value);

/// `len(value)`; nullopt for what has no length.
std::optional<std::int64_t> length_of(const Value& value);

/// `iter(value)`: its items one after another. Throws `Fault` for what cannot be iterated over.
NextItem iterate(Budget& budget, const Value& value);
bool is_iterable(const Value& value);
/// `list(value)`
std::vector<Value> items_of(Budget& budget, const Value& value);

/// `container[index]`; nullopt where Python raises a LookupError or TypeError.
std::optional<Value> item_at(Budget& budget, const Value& container, const Value& index);
/// `container[start:stop:step]`, each of which may be None.
Value slice_of(Budget& budget, const Value& container, const Value& start, const Value& stop,
               const Value& step);

/// A whole number that Python would take as an index. Throws `Fault` naming `what`.
std::int64_t whole_number(const Value& value, std::string_view what);

/// Throws what using an undefined value in an expression raises.
[[noreturn]] void refuse_undefined(const Value& value);

/// With &, <, >, and quotes as HTML writes them.
std::string html_escaped(Budget& budget, std::string_view text);

}  // namespace fathom::jinja
