#include "text/json_schema_pointer.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "text/hexadecimal.h"

namespace fathom {
namespace {

/// "%41" and what is like it decoded.
std::string without_percent(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '%' && i + 2 < text.size() && hexadecimal_digit(text[i + 1]) < 16 &&
                           hexadecimal_digit(text[i + 2]) < 16;
    if (is_escape) {
      decoded += static_cast<char>(hexadecimal_digit(text[i + 1]) * 16 + hexadecimal_digit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

}  // namespace

const OrderedJson& find_reference(const OrderedJson& document, const OrderedJson& reference,
                                  const std::string& where) {
  require(reference.is_string(), "{}/$ref: must be a string", where);
  const auto& text = reference.get_ref<const std::string&>();
  require(text == "#" || text.starts_with("#/"),
          "{}/$ref: {} is not in this schema: only \"#\" and \"#/...\" can be followed", where,
          printable(text));
  const auto fail_to_find = [&] { fail("{}/$ref: there is no {} in this schema", where, printable(text)); };
  try {
    const OrderedJson::json_pointer pointer(without_percent(text.substr(1)));
    if (!document.contains(pointer)) fail_to_find();
    return document.at(pointer);
  } catch (const OrderedJson::exception&) {
    fail_to_find();
  }
  return document;  // not reached: a failure throws
}

}  // namespace fathom
