#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// `text` in quotes, for messages: on one line (control characters escaped, broken UTF-8 replaced) and cut
/// off where it is long.
std::string in_quotes(std::string_view text);

}  // namespace fathom
