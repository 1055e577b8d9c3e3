#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// Rewrites a pattern of `tokenizer.json` (Oniguruma, Ruby's syntax, Unicode 16) so that PCRE2 matches the
/// same text: `\s`, `\d`, `\w`, `\h`, `\b`, `^`, `$`, `{,n}` mean other things there, scripts are compared by
/// another property, and the machine's PCRE2 may know an older Unicode than the tokenizer was made with.
/// What cannot be carried over exactly (set intersections, references, options but `i`, ...) is an `Error`.
/// @param where  names the pattern in messages
std::string pcre2_pattern_of(std::string_view pattern, const std::string& where);

}  // namespace fathom
