#include "support/shared_data.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

namespace fathom::test {

std::filesystem::path source_folder() {
  return FATHOM_SOURCE_DIR;
}

std::optional<std::filesystem::path> shared_data_folder() {
  const char* named = std::getenv("FATHOM_SHARED_DATA");
  const std::filesystem::path folder =
      named != nullptr ? std::filesystem::path(named) : source_folder() / "../shared/data";
  if (!std::filesystem::is_directory(folder)) return std::nullopt;
  return folder;
}

std::filesystem::path golden(const std::filesystem::path& relative) {
  return source_folder() / "tests" / relative;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "fathom-test-XXXXXX").string();
  path_ = mkdtemp(pattern.data());
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace fathom::test
