#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace fathom {

/// Calls `use` with each line of a text file that is not blank, without its end, and with what names it in
/// messages ("FILE:3"). Throws `Error` for a file that cannot be read, and for a line of more than 16 MiB.
void for_each_line(const std::filesystem::path& file,
                   const std::function<void(std::string_view line, const std::string& where)>& use);

}  // namespace fathom
