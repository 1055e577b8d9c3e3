// The methods of Python's `str` that say what a text is made of, and `replace`.

#include <algorithm>
#include <array>

#include "text/jinja_attributes.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parameters.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

template <typename Is>
bool all_characters(std::string_view text, const Is& is) {
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (!is(c.code_point)) return false;
    at += c.length;
  }
  return true;
}

bool is_alphanumeric(std::uint32_t c) {
  return is_alphabetic(c) || is_decimal(c) || is_digit(c) || is_numeric(c);
}

using CharacterQuestion = bool (*)(std::uint32_t);
/// Whether there is a character, and `is` holds for all.
template <CharacterQuestion is>
Value all_are(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none("the method", arguments, {});
  interpreter.budget().spend_on_bytes(self.str().size());
  return Value::boolean(!self.str().empty() && all_characters(self.str(), is));
}

Value is_ascii_text(Interpreter& /*interpreter*/, const Value& self, const Arguments& arguments) {
  const Parameters none("isascii", arguments, {});
  return Value::boolean(self.text().is_ascii);
}
Value is_printable_text(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none("isprintable", arguments, {});
  interpreter.budget().spend_on_bytes(self.str().size());
  return Value::boolean(all_characters(self.str(), is_printable));
}
Value is_identifier(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none("isidentifier", arguments, {});
  interpreter.budget().spend_on_bytes(self.str().size());
  return Value::boolean(!self.str().empty() && is_name_start(character_at(self.str(), 0).code_point) &&
                        all_characters(self.str(), is_name_part));
}

/// Whether there is a letter with case, and all such are of the right one.
template <CharacterQuestion is_right, CharacterQuestion is_wrong>
Value has_case(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none("the method", arguments, {});
  interpreter.budget().spend_on_bytes(self.str().size());
  bool is_found = false;
  const bool is_pure = all_characters(self.str(), [&](std::uint32_t c) {
    is_found = is_found || is_right(c);
    return !is_wrong(c) && !is_title(c);
  });
  return Value::boolean(is_pure && is_found);
}

Value is_titled(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  const Parameters none("istitle", arguments, {});
  interpreter.budget().spend_on_bytes(self.str().size());
  bool is_found = false;
  bool in_word = false;
  const bool is_pure = all_characters(self.str(), [&](std::uint32_t c) {
    const bool begins = is_upper(c) || is_title(c);
    if ((begins && in_word) || (is_lower(c) && !in_word)) return false;
    in_word = begins || is_lower(c);
    is_found = is_found || in_word;
    return true;
  });
  return Value::boolean(is_pure && is_found);
}

struct TextQuestion {
  std::string_view name;
  FunctionBody body;
};

constexpr std::array<TextQuestion, 12> kTextQuestions = {{{"isalpha", all_are<is_alphabetic>},
                                                          {"isdigit", all_are<is_digit>},
                                                          {"isdecimal", all_are<is_decimal>},
                                                          {"isnumeric", all_are<is_numeric>},
                                                          {"isalnum", all_are<is_alphanumeric>},
                                                          {"isspace", all_are<is_python_space>},
                                                          {"isupper", has_case<is_upper, is_lower>},
                                                          {"islower", has_case<is_lower, is_upper>},
                                                          {"istitle", is_titled},
                                                          {"isascii", is_ascii_text},
                                                          {"isprintable", is_printable_text},
                                                          {"isidentifier", is_identifier}}};

}  // namespace

FunctionBody find_text_question(std::string_view name) {
  const auto* found = std::ranges::find(kTextQuestions, name, &TextQuestion::name);
  return found != kTextQuestions.end() ? found->body : nullptr;
}

std::string replaced(Budget& budget, std::string_view text, std::string_view old,
                     std::string_view replacement, std::int64_t most) {
  budget.spend_on_bytes(text.size());
  TextBuilder out(budget);
  if (old.empty()) {  // stands before each character, and at the end
    std::int64_t done = 0;
    std::size_t at = 0;
    while (most < 0 || done < most) {
      out.append(replacement);
      ++done;
      if (at >= text.size()) return out.take();
      const Character c = character_at(text, at);
      out.append(text.substr(at, c.length));
      at += c.length;
    }
    out.append(text.substr(at));
    return out.take();
  }
  std::size_t begin = 0;
  for (std::int64_t done = 0; most < 0 || done < most; ++done) {
    const std::size_t at = find_part(text, old, begin);
    if (at == std::string_view::npos) break;
    out.append(text.substr(begin, at - begin));
    out.append(replacement);
    begin = at + old.size();
  }
  out.append(text.substr(begin));
  return out.take();
}

}  // namespace fathom::jinja
