#include "plan/named_file.h"

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "plan/builtin_files.h"

namespace fathom {

NamedText read_named_text(std::string_view folder, const std::string& file_or_name) {
  constexpr std::uint64_t kMostBytes = 16U << 20U;
  std::filesystem::path path = file_or_name;
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) path /= "config.json";
  if (std::filesystem::exists(path, error))
    return {printable(path.string()), read_text_file(path, kMostBytes)};
  std::string names;
  for (const BuiltinFile& file : builtin_files()) {
    if (file.folder != folder) continue;
    if (file.name == file_or_name) return {file_or_name, std::string(file.text)};
    names += (names.empty() ? "" : ", ") + std::string(file.name);
  }
  fail("{}: no such file, and none of the {} that are built in: {}", printable(file_or_name), folder, names);
}

}  // namespace fathom
