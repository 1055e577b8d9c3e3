#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace fathom {

// Metadata of GGUF files. The alternatives of both variants stand in the order of the format's type numbers,
// so that `index()` is the number: u8, i8, u16, i16, u32, i32, f32, bool, string, array, u64, i64, f64.

/// An array of one type; arrays may hold arrays.
struct GgufArray {
  std::variant<std::vector<std::uint8_t>, std::vector<std::int8_t>, std::vector<std::uint16_t>,
               std::vector<std::int16_t>, std::vector<std::uint32_t>, std::vector<std::int32_t>,
               std::vector<float>, std::vector<bool>, std::vector<std::string>, std::vector<GgufArray>,
               std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>>
      values;

  [[nodiscard]] std::size_t size() const;
  bool operator==(const GgufArray&) const = default;
};

using GgufValue =
    std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t, float,
                 bool, std::string, GgufArray, std::uint64_t, std::int64_t, double>;

inline constexpr std::size_t kGgufArrayType = 9;
/// "u32", "string", "array".
std::string_view gguf_type_name(std::size_t type);

/// A whole number of any integer type; nothing where it is of another, or beyond i64.
std::optional<std::int64_t> integer_of(const GgufValue& value);
/// The elements of an array of integers.
std::optional<std::vector<std::int64_t>> integers_of(const GgufValue& value);
/// A number of any type but bool.
std::optional<double> number_of(const GgufValue& value);

/// A value on one line, for people: strings quoted and cut, arrays as "[102400 of string]" beyond a few
/// elements.
std::string gguf_value_text(const GgufValue& value);

/// Keys and values in the order of the file.
class GgufMetadata {
 public:
  using Entry = std::pair<std::string, GgufValue>;

  /// Adds an entry, or replaces the value of the one there is.
  void set(std::string_view key, GgufValue value);
  void remove(std::string_view key);
  /// Null when there is no such key.
  [[nodiscard]] const GgufValue* find(std::string_view key) const;
  [[nodiscard]] bool contains(std::string_view key) const { return find(key) != nullptr; }
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> places_;
};

}  // namespace fathom
