#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// JSON text that an argument stands for, and what to call it in messages.
struct NamedText {
  std::string where;
  std::string text;
};

/// The file of that path, where there is one (of a folder its config.json); else the one of that name that
/// the program carries with it (plan/builtin_files.h). Throws `Error` that lists the names there are.
/// @param folder  "hardware" or "models"
NamedText read_named_text(std::string_view folder, const std::string& file_or_name);

}  // namespace fathom
