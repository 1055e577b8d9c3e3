#include "train/prepare_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace fathom {
namespace {

constexpr std::size_t kBuffer = 1U << 20U;
constexpr std::uint64_t kLargestJournal = std::uint64_t{1} << 32U;

void write_all(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "{}: cannot write: {}", path.string(), errno_text(written < 0 ? errno : ENOSPC));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void sync_file(int descriptor, const std::filesystem::path& path) {
  const int synced = fsync(descriptor);
  require(synced == 0, "{}: cannot sync: {}", path.string(), errno_text(errno));
}

}  // namespace

PrepareJournal::PrepareJournal(const std::filesystem::path& folder, const OrderedJson& recipe)
    : file_(folder / "journal.jsonl") {
  create_folders(folder);
  descriptor_ = open(file_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  require(descriptor_ >= 0, "{}: cannot write: {}", file_.string(), errno_text(errno));
  try {
    require(flock(descriptor_, LOCK_EX | LOCK_NB) == 0,
            "{}: another process prepares data there: wait for it, or choose another --output",
            folder.parent_path().string());
    read(recipe);
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

PrepareJournal::~PrepareJournal() {
  close(descriptor_);
}

void PrepareJournal::read(const OrderedJson& recipe) {
  const std::string content = read_text_file(file_, kLargestJournal);
  const std::string folder = file_.parent_path().parent_path().string();
  std::size_t at = 0;
  for (std::size_t end = 0; (end = content.find('\n', at)) != std::string::npos; at = end + 1)
    entries_.push_back(parse_json(std::string_view(content).substr(at, end - at), file_.string()));
  // A crash may have cut the last line short.
  const int cut = ftruncate(descriptor_, static_cast<off_t>(at));
  require(cut == 0, "{}: cannot write: {}", file_.string(), errno_text(errno));
  if (entries_.empty()) {
    append(recipe);
    sync_folder(file_.parent_path());
    return;
  }
  const Json before = std::move(entries_.front());
  entries_.erase(entries_.begin());
  for (const auto& [key, value] : recipe.items())
    require(
        before.is_object() && before.contains(key) && before.at(key) == Json::parse(value.dump()),
        "{} holds an unfinished preparation with other settings ({} differs): give the same ones to go on, "
        "or remove the folder",
        folder, key);
}

void PrepareJournal::append(const OrderedJson& entry) {
  const std::string line = entry.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
  write_all(descriptor_, std::as_bytes(std::span(line)), file_);
  sync_file(descriptor_, file_);
}

GrowingFile::GrowingFile(const std::filesystem::path& path, std::uint64_t bytes) : path_(path) {
  descriptor_ = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  require(descriptor_ >= 0, "{}: cannot write: {}", path.string(), errno_text(errno));
  struct stat status {};
  const bool enough = fstat(descriptor_, &status) == 0 && static_cast<std::uint64_t>(status.st_size) >= bytes;
  const bool cut = enough && ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0 &&
                   lseek(descriptor_, 0, SEEK_END) >= 0;
  if (cut) return;
  close(descriptor_);
  fail("{}: shorter than the journal beside it says: remove the output folder and prepare again",
       path.string());
}

GrowingFile::~GrowingFile() {
  close(descriptor_);
}

void GrowingFile::append(std::span<const std::byte> bytes) {
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  if (buffer_.size() >= kBuffer) flush();
}

void GrowingFile::flush() {
  write_all(descriptor_, buffer_, path_);
  buffer_.clear();
}

void GrowingFile::sync() {
  flush();
  sync_file(descriptor_, path_);
}

}  // namespace fathom
