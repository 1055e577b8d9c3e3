#include "text/jinja_repr.h"

#include <array>
#include <charconv>
#include <cmath>

#include "text/jinja_loop.h"
#include "text/jinja_macro.h"
#include "text/jinja_text.h"

namespace fathom::jinja {

std::string repr_of_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  const auto [end, error] =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  const std::string_view shortest(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t e = shortest.find('e');
  std::string digits;
  for (const char c : shortest.substr(0, e))
    if (c >= '0' && c <= '9') digits += c;
  std::string_view exponent_text = shortest.substr(e + 1);
  if (exponent_text.starts_with('+')) exponent_text.remove_prefix(1);
  int exponent = 0;
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  std::string out = std::signbit(value) ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  out += digits.substr(0, whole) + ".";
  return out + (digits.size() > whole ? digits.substr(whole) : "0");
}

std::string repr_of_text(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    at += c.length;
    Budget::check_text_bytes(out.size());
    const std::uint32_t code = c.code_point;
    if (code == static_cast<unsigned char>(quote) || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (code == '\n') {
      out += "\\n";
    } else if (code == '\r') {
      out += "\\r";
    } else if (code == '\t') {
      out += "\\t";
    } else if (is_printable(code)) {
      out += text.substr(c.begin, c.length);
    } else if (code < 0x100) {
      out += fmt::format("\\x{:02x}", code);
    } else if (code < 0x10000) {
      out += fmt::format("\\u{:04x}", code);
    } else {
      out += fmt::format("\\U{:08x}", code);
    }
  }
  return out + quote;
}

namespace {

void append_items(Budget& budget, const std::vector<Value>& items, TextBuilder& out) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(", ");
    append_repr(budget, items[i], out);
  }
}

void append_dict(Budget& budget, const Dict& dict, TextBuilder& out) {
  out.append("{");
  bool is_first = true;
  for (const auto& [key, value] : dict.entries()) {
    if (!is_first) out.append(", ");
    is_first = false;
    append_repr(budget, key, out);
    out.append(": ");
    append_repr(budget, value, out);
  }
  out.append("}");
}

void append_view(Budget& budget, const Value& view, TextBuilder& out) {
  out.append(type_name(view));
  out.append("([");
  bool is_first = true;
  for (const auto& [key, value] : view.dict().entries()) {
    if (!is_first) out.append(", ");
    is_first = false;
    if (view.view_kind() == ViewKind::kItems) out.append("(");
    if (view.view_kind() != ViewKind::kValues) append_repr(budget, key, out);
    if (view.view_kind() == ViewKind::kItems) out.append(", ");
    if (view.view_kind() != ViewKind::kKeys) append_repr(budget, value, out);
    if (view.view_kind() == ViewKind::kItems) out.append(")");
  }
  out.append("])");
}

}  // namespace

void append_repr(Budget& budget, const Value& value, TextBuilder& out) {
  const Budget::Level level(budget);
  budget.spend();
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
      return out.append("Undefined");
    case Kind::kNone:
      return out.append("None");
    case Kind::kBool:
      return out.append(value.boolean() ? "True" : "False");
    case Kind::kInt:
      return out.append(std::to_string(value.integer()));
    case Kind::kFloat:
      return out.append(repr_of_float(value.real()));
    case Kind::kText:
      if (value.text().is_markup) out.append("Markup(");
      out.append(repr_of_text(value.str()));
      if (value.text().is_markup) out.append(")");
      return;
    case Kind::kList:
      out.append("[");
      append_items(budget, value.items(), out);
      return out.append("]");
    case Kind::kTuple:
      out.append("(");
      append_items(budget, value.items(), out);
      return out.append(value.items().size() == 1 ? ",)" : ")");
    case Kind::kDict:
      return append_dict(budget, value.dict(), out);
    case Kind::kRange: {
      const Range& range = value.range();
      return out.append(range.step == 1
                            ? fmt::format("range({}, {})", range.start, range.stop)
                            : fmt::format("range({}, {}, {})", range.start, range.stop, range.step));
    }
    case Kind::kView:
      return append_view(budget, value, out);
    case Kind::kIterator:
      return out.append("<generator object>");
    case Kind::kNamespace:
      out.append("<Namespace ");
      append_dict(budget, value.name_space().attributes, out);
      return out.append(">");
    case Kind::kLoop:
      return out.append(fmt::format("<LoopContext {}/{}>", value.loop().index0 + 1, value.loop().length()));
    case Kind::kMacro:
      return out.append(fmt::format(
          "<Macro {}>", value.macro().name.empty() ? "anonymous" : repr_of_text(value.macro().name)));
    case Kind::kFunction:
      return out.append(fmt::format("<function {}>", value.function().name));
  }
}

void append_str(Budget& budget, const Value& value, TextBuilder& out) {
  if (value.is_text()) return out.append(value.str());
  if (!value.is_undefined()) append_repr(budget, value, out);
}

std::string str_of(Budget& budget, const Value& value) {
  if (value.is_text()) return value.str();
  TextBuilder out(budget);
  append_str(budget, value, out);
  return out.take();
}

std::string repr_of(Budget& budget, const Value& value) {
  TextBuilder out(budget);
  append_repr(budget, value, out);
  return out.take();
}

}  // namespace fathom::jinja
