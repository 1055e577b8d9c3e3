#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// The string under `field` of a JSON object, as a line of a corpus holds it. Quick: nothing else of the line
/// is stored. Escaped halves of surrogate pairs that stand alone become U+FFFD, as bytes do that are no
/// UTF-8. Throws `Error` when the line is not a JSON object, nests deeper than 64 levels, or has no such
/// string, or two.
/// @param line   valid UTF-8
/// @param where  names the line in messages, as "FILE:3"
std::string string_field(std::string_view line, std::string_view field, const std::string& where);

}  // namespace fathom
