#pragma once

#include <string>
#include <string_view>

#include "text/grammar.h"

namespace fathom {

/// Reads a grammar as llama.cpp's GBNF writes it:
///
///     root  ::= "yes" | "no" " " [a-z]+   # a comment
///     other ::= ( . root ){2,5} [^\n"]? "\x41\u00e9\U0001F600"
///
/// A rule ends where the next `name ::=` begins; the texts are those of `root`. Anybody may have written it:
/// length, nesting, the number of rules and repetitions are bounded.
/// @param where  names the text in messages, which go on with ":LINE:COLUMN" (both from 1; columns count
/// bytes) Throws `Error`.
Grammar parse_gbnf(std::string_view text, const std::string& where);

}  // namespace fathom
