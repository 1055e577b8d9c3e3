#pragma once

#include <span>
#include <string_view>

namespace fathom {

/// A file of configs/ that the program carries with it, so that it can be named wherever it runs.
struct BuiltinFile {
  std::string_view folder;  // "hardware", "models"
  std::string_view name;    // "h800": the file's, without .json
  std::string_view text;
};

/// All of configs/hardware and configs/models, in the order of their names. CMakeLists.txt makes the source.
std::span<const BuiltinFile> builtin_files();

}  // namespace fathom
