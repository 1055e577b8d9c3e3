#include "io/gguf_value.h"

#include <fmt/core.h>

#include <array>
#include <limits>
#include <type_traits>

#include "base/error.h"

namespace fathom {
namespace {

constexpr std::array<std::string_view, 13> kTypeNames = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
static_assert(std::variant_size_v<GgufValue> == kTypeNames.size());
static_assert(std::is_same_v<std::variant_alternative_t<kGgufArrayType, GgufValue>, GgufArray>);

template <typename T>
constexpr bool kIsInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;

std::string in_quotation(std::string_view text) {
  return fmt::format("\"{}\"", printable(text));
}

template <typename T>
std::string element_text(const T& element) {
  if constexpr (std::is_same_v<T, std::string>) {
    return in_quotation(element);
  } else if constexpr (std::is_same_v<T, GgufArray>) {
    return fmt::format("[{} of {}]", element.size(), gguf_type_name(element.values.index()));
  } else {
    return fmt::format("{}", element);
  }
}

std::string array_text(const GgufArray& array) {
  constexpr std::size_t kShown = 8;
  if (array.size() > kShown) return element_text(array);
  return std::visit(
      [](const auto& values) {
        using Element = typename std::decay_t<decltype(values)>::value_type;
        std::string text;
        for (const Element& element : values) text += (text.empty() ? "" : ", ") + element_text(element);
        return fmt::format("[{}]", text);
      },
      array.values);
}

}  // namespace

std::size_t GgufArray::size() const {
  return std::visit([](const auto& elements) { return elements.size(); }, values);
}

std::string_view gguf_type_name(std::size_t type) {
  return kTypeNames.at(type);
}

std::optional<std::int64_t> integer_of(const GgufValue& value) {
  return std::visit(
      [](const auto& v) -> std::optional<std::int64_t> {
        using T = std::decay_t<decltype(v)>;
        if constexpr (kIsInteger<T>) {
          if (std::is_same_v<T, std::uint64_t> &&
              static_cast<std::uint64_t>(v) > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
            return std::nullopt;
          return static_cast<std::int64_t>(v);
        } else {
          return std::nullopt;
        }
      },
      value);
}

std::optional<std::vector<std::int64_t>> integers_of(const GgufValue& value) {
  const auto* array = std::get_if<GgufArray>(&value);
  if (array == nullptr) return std::nullopt;
  return std::visit(
      [](const auto& elements) -> std::optional<std::vector<std::int64_t>> {
        using T = typename std::decay_t<decltype(elements)>::value_type;
        if constexpr (kIsInteger<T>) {
          std::vector<std::int64_t> integers;
          integers.reserve(elements.size());
          for (const T element : elements) {
            const auto integer = integer_of(element);
            if (!integer) return std::nullopt;
            integers.push_back(*integer);
          }
          return integers;
        } else {
          return std::nullopt;
        }
      },
      array->values);
}

std::optional<double> number_of(const GgufValue& value) {
  return std::visit(
      [](const auto& v) -> std::optional<double> {
        using T = std::decay_t<decltype(v)>;
        if constexpr (kIsInteger<T> || std::is_floating_point_v<T>) {
          return static_cast<double>(v);
        } else {
          return std::nullopt;
        }
      },
      value);
}

std::string gguf_value_text(const GgufValue& value) {
  if (const auto* array = std::get_if<GgufArray>(&value)) return array_text(*array);
  return std::visit([](const auto& v) { return element_text(v); }, value);
}

void GgufMetadata::set(std::string_view key, GgufValue value) {
  const auto [place, is_new] = places_.try_emplace(std::string(key), entries_.size());
  if (is_new) {
    entries_.emplace_back(key, std::move(value));
  } else {
    entries_[place->second].second = std::move(value);
  }
}

void GgufMetadata::remove(std::string_view key) {
  const auto found = places_.find(std::string(key));
  if (found == places_.end()) return;
  const std::size_t at = found->second;
  places_.erase(found);
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(at));
  for (auto& [name, place] : places_)
    if (place > at) --place;
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = places_.find(std::string(key));
  return found == places_.end() ? nullptr : &entries_[found->second].second;
}

}  // namespace fathom
