#pragma once

#include <filesystem>
#include <optional>

namespace fathom::test {

/// The folder of real tokenizers, configs and texts that some tests read: `shared/data` beside the checkout,
/// or what FATHOM_SHARED_DATA names. Absent on most machines.
std::optional<std::filesystem::path> shared_data_folder();

/// The root of the checkout that the tests were built from.
std::filesystem::path source_folder();

/// A file of tests/<layer>/goldens.
std::filesystem::path golden(const std::filesystem::path& relative);

/// A folder of this test's own, emptied when made and removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace fathom::test

/// Skips the running test, saying so, where the shared data is absent; else names its folder.
#define FATHOM_SHARED_DATA_OR_SKIP(name)                                                                    \
  const auto name##_folder = ::fathom::test::shared_data_folder();                                          \
  if (!name##_folder) GTEST_SKIP() << "no shared data: set FATHOM_SHARED_DATA to the folder that holds it"; \
  const std::filesystem::path& name = *name##_folder
