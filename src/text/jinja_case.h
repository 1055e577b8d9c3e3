#pragma once

#include <cstdint>
#include <string>

namespace fathom::jinja {

// Full case mappings of one character, as Python's `str` has them: some become several characters.

void append_upper_case(std::uint32_t code_point, std::string& out);
void append_lower_case(std::uint32_t code_point, std::string& out);
void append_title_case(std::uint32_t code_point, std::string& out);

}  // namespace fathom::jinja
