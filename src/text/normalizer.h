#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_spec.h"

namespace fathom {

/// `text` in each of the normal forms in turn (Unicode Annex 15).
/// @param text  valid UTF-8
std::string normalize(std::string_view text, const std::vector<UnicodeNormalForm>& forms);

}  // namespace fathom
