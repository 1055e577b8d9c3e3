#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// `text` as it stands in XML, HTML or SVG, also inside a quoted attribute.
std::string escape_markup(std::string_view text);

}  // namespace fathom
