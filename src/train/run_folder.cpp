#include "train/run_folder.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/file.h"

namespace fathom {
namespace {

constexpr std::string_view kLockName = "lock";
constexpr std::string_view kCheckpointsName = "checkpoints";
constexpr std::string_view kCheckpointPrefix = "step-";
constexpr std::string_view kWritingPrefix = "writing-";
constexpr std::string_view kRemovingPrefix = "removing-";

std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kCheckpointPrefix)) return std::nullopt;
  std::int64_t step = 0;
  const char* begin = name.data() + kCheckpointPrefix.size();
  const char* end = name.data() + name.size();
  const auto [at, error] = std::from_chars(begin, end, step);
  if (error != std::errc() || at != end || begin == end) return std::nullopt;
  return step;
}

void rename_entry(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  require(!error, "{}: cannot rename to {}: {}", from.string(), to.filename().string(), error.message());
}

void remove_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  require(!error, "{}: cannot remove: {}", folder.string(), error.message());
}

}  // namespace

RunFolder::RunFolder(std::filesystem::path path)
    : path_(std::move(path)), made_(!std::filesystem::exists(path_)) {
  take_lock();
  try {
    clear_leftovers();
  } catch (...) {
    close(lock_);
    throw;
  }
}

RunFolder::~RunFolder() {
  if (made_) remove_if_unused();
  close(lock_);
}

void RunFolder::take_lock() {
  const std::filesystem::path file = path_ / kLockName;
  // A process that made the folder for nothing removes it with its lock: then this one makes both anew.
  while (true) {
    create_folders(path_ / kCheckpointsName);
    lock_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    require(lock_ >= 0 || errno == ENOENT, "{}: cannot write: {}", file.string(), errno_text(errno));
    if (lock_ < 0) continue;
    if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      close(lock_);
      fail("{}: another process trains in this folder: wait for it, or choose another --output",
           path_.string());
    }
    struct stat status {};
    if (fstat(lock_, &status) == 0 && status.st_nlink > 0) return;
    close(lock_);
  }
}

void RunFolder::remove_if_unused() const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path_, error))
    if (entry.path().filename() != kLockName && entry.path().filename() != kCheckpointsName) return;
  if (!std::filesystem::is_empty(path_ / kCheckpointsName, error) || error) return;
  std::filesystem::remove(path_ / kLockName, error);
  std::filesystem::remove(path_ / kCheckpointsName, error);
  std::filesystem::remove(path_, error);
}

std::filesystem::path RunFolder::checkpoint_of(const std::filesystem::path& run, std::int64_t step) {
  return run / kCheckpointsName / fmt::format("{}{:06}", kCheckpointPrefix, step);
}

std::vector<std::int64_t> RunFolder::checkpoints() const {
  std::vector<std::int64_t> steps;
  for (const auto& entry : std::filesystem::directory_iterator(path_ / kCheckpointsName))
    if (const auto step = step_of(entry.path().filename().string()); step && entry.is_directory())
      steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<std::int64_t> RunFolder::newest_checkpoint() const {
  const std::vector<std::int64_t> steps = checkpoints();
  return steps.empty() ? std::nullopt : std::optional(steps.back());
}

std::filesystem::path RunFolder::writing(std::int64_t step) const {
  return path_ / kCheckpointsName / fmt::format("{}{:06}", kWritingPrefix, step);
}

std::filesystem::path RunFolder::begin_checkpoint(std::int64_t step) const {
  std::filesystem::path folder = writing(step);
  remove_folder(folder);
  create_folders(folder);
  return folder;
}

void RunFolder::abandon_checkpoint(std::int64_t step) const {
  std::error_code ignored;
  std::filesystem::remove_all(writing(step), ignored);
}

void RunFolder::publish_checkpoint(std::int64_t step, std::int64_t keep) const {
  const std::filesystem::path all = path_ / kCheckpointsName;
  const std::filesystem::path written = writing(step);
  const std::filesystem::path target = checkpoint(step);
  sync_folder(written);
  if (std::filesystem::exists(target)) {
    const std::filesystem::path old = all / fmt::format("{}{:06}", kRemovingPrefix, step);
    rename_entry(target, old);
    rename_entry(written, target);
    remove_folder(old);
  } else {
    rename_entry(written, target);
  }
  sync_folder(all);

  // A link cannot be replaced in place; one under another name can take its place.
  const std::filesystem::path link = path_ / fmt::format("latest.tmp-{}", getpid());
  std::error_code error;
  std::filesystem::remove(link, error);
  std::filesystem::create_directory_symlink(std::filesystem::path(kCheckpointsName) / target.filename(), link,
                                            error);
  require(!error, "{}: cannot create the link: {}", link.string(), error.message());
  rename_entry(link, path_ / "latest");
  sync_folder(path_);

  std::vector<std::int64_t> steps = checkpoints();
  if (keep <= 0 || steps.size() <= static_cast<std::size_t>(keep)) return;
  steps.resize(steps.size() - static_cast<std::size_t>(keep));
  for (const std::int64_t old : steps) {
    const std::filesystem::path removing = all / fmt::format("{}{:06}", kRemovingPrefix, old);
    rename_entry(checkpoint(old), removing);
    remove_folder(removing);
  }
}

void RunFolder::clear_leftovers() const {
  std::vector<std::filesystem::path> leftovers;
  for (const auto& entry : std::filesystem::directory_iterator(path_ / kCheckpointsName)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kWritingPrefix) || name.starts_with(kRemovingPrefix))
      leftovers.push_back(entry.path());
  }
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    if (writer_of_temporary(entry.path().filename().string())) leftovers.push_back(entry.path());
  for (const std::filesystem::path& leftover : leftovers) remove_folder(leftover);
}

}  // namespace fathom
