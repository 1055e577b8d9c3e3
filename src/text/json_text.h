#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "text/grammar.h"

namespace fathom {

// JSON's parts as grammars.

/// White space between tokens: a space, or one or two ends of lines and up to 32 characters of indentation. A
/// model that has nothing to say may write any white space for ever, so it has an end.
GrammarExpr json_space();

/// Characters inside a string as canonical JSON writes them: themselves, or \" \\ \b \f \n \r \t, or \u00xx
/// for other control characters. @param ranges  of characters (see `expr::char_class`)
GrammarExpr json_chars(const std::vector<CodePointRange>& ranges);
/// As `json_chars`, of every character but those.
GrammarExpr json_chars_except(const std::vector<CodePointRange>& ranges);

/// Any one character inside a string, in any way to write it. Halves of surrogate pairs stand together.
GrammarExpr json_any_char();

/// A string, with its quotes, of so many characters. @param most  `GrammarExpr::kEndless`: any number
GrammarExpr json_string(std::int64_t least, std::int64_t most);

/// A string, with its quotes, that is none of `names`; with no more than one way to write it.
GrammarExpr json_string_except(const std::set<std::string>& names);

/// The text of a string, quotes and escapes included.
std::string json_quoted(std::string_view utf8);

/// Whole numbers from `least` to `most` as JSON writes them, without fraction or exponent.
/// @param least  null: any, however small; so `most`
GrammarExpr json_integer(const std::int64_t* least, const std::int64_t* most);

/// A bound of numbers: a whole number, which is inside or not.
struct JsonBound {
  std::int64_t value = 0;
  bool is_exclusive = false;
};
/// Numbers between bounds, either of which may be null; with a bound they have no exponent.
GrammarExpr json_number(const JsonBound* least, const JsonBound* most);

}  // namespace fathom
