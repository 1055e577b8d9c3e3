#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar.h"

namespace fathom {

/// A regular expression as JSON Schema's `pattern` has it (ECMA-262), for strings in which it is found
/// somewhere. What a grammar cannot say is refused: back references, look-around, word boundaries, \p{...},
/// and anchors elsewhere than at an alternative's ends.
/// @param chars  the grammar of any one of some characters as the text spells them
/// @param where  names the pattern in messages
/// Throws `Error`.
GrammarExpr pattern_grammar(std::string_view pattern, const std::string& where,
                            const std::function<GrammarExpr(const std::vector<CodePointRange>&)>& chars);

}  // namespace fathom
