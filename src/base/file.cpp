#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <limits>
#include <system_error>
#include <vector>

#include "base/error.h"

namespace fathom {
namespace {

/// An open descriptor that closes itself.
struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) close(value);
  }
};

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

int open_for_reading(const std::filesystem::path& path, struct stat& status) {
  // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  require(descriptor >= 0, "{}: cannot open: {}", path.string(), errno_text(errno));
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    fail("{}: not a regular file", path.string());
  }
  return descriptor;
}

constexpr std::string_view kTemporaryMark = ".tmp-";

/// Whether this machine runs a process of that number; when in doubt, yes.
bool is_alive(std::int64_t process) {
  return kill(static_cast<pid_t>(process), 0) == 0 || errno != ESRCH;
}

/// Removes what killed processes left of `path`. Best effort: what cannot be listed or removed stays.
void remove_stale_temporaries(const std::filesystem::path& path) {
  const std::string start = path.filename().string() + std::string(kTemporaryMark);
  std::error_code error;
  std::vector<std::filesystem::path> stale;
  const std::filesystem::directory_iterator entries(folder_of(path), error);
  for (auto entry = begin(entries); entry != end(entries); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(start)) continue;
    const std::optional<std::int64_t> writer = writer_of_temporary(name);
    if (writer && !is_alive(*writer)) stale.push_back(entry->path());
  }
  for (const std::filesystem::path& file : stale) std::filesystem::remove(file, error);
}

}  // namespace

std::optional<std::int64_t> writer_of_temporary(std::string_view file_name) {
  const std::size_t mark = file_name.rfind(kTemporaryMark);
  if (mark == std::string_view::npos || mark == 0) return std::nullopt;
  const std::string_view digits = file_name.substr(mark + kTemporaryMark.size());
  std::int64_t process = 0;
  const auto [at, error] = std::from_chars(digits.data(), digits.data() + digits.size(), process);
  const bool whole = error == std::errc() && at == digits.data() + digits.size();
  if (!whole || process <= 0 || process > std::numeric_limits<pid_t>::max()) return std::nullopt;
  return process;
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  struct stat status {};
  const Descriptor file{open_for_reading(path, status)};
  require(status.st_size > 0, "{}: the file is empty", path.string());
  size_ = static_cast<std::size_t>(status.st_size);
  void* address = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.value, 0);
  require(address != MAP_FAILED, "{}: cannot map: {}", path.string(), errno_text(errno));
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

void map_cached_pages(std::span<const std::byte> mapped) {
#ifdef MADV_POPULATE_READ
  constexpr std::size_t kPiece = std::size_t{4} << 20U;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t unaligned = reinterpret_cast<std::uintptr_t>(mapped.data()) % page;
  std::byte* begin = const_cast<std::byte*>(mapped.data()) - unaligned;
  const std::byte* end = mapped.data() + mapped.size();
  std::vector<unsigned char> resident(kPiece / page);
  for (; begin < end; begin += kPiece) {
    const std::size_t bytes = std::min(kPiece, static_cast<std::size_t>(end - begin));
    if (mincore(begin, bytes, resident.data()) != 0) return;
    const auto pages = static_cast<std::ptrdiff_t>((bytes + page - 1) / page);
    const bool all =
        std::all_of(resident.begin(), resident.begin() + pages, [](unsigned char of) { return of & 1U; });
    if (all && madvise(begin, bytes, MADV_POPULATE_READ) != 0) return;
  }
#endif
}

InputFile::InputFile(const std::filesystem::path& path) : path_(path) {
  struct stat status {};
  descriptor_ = open_for_reading(path, status);
}

InputFile::~InputFile() {
  close(descriptor_);
}

std::size_t InputFile::read(std::span<std::byte> out) {
  while (true) {
    const ssize_t got = ::read(descriptor_, out.data(), out.size());
    if (got < 0 && errno == EINTR) continue;
    require(got >= 0, "{}: cannot read: {}", path_.string(), errno_text(errno));
    bytes_read_ += static_cast<std::uint64_t>(got);
    return static_cast<std::size_t>(got);
  }
}

AtomicFile::AtomicFile(const std::filesystem::path& path)
    : path_(path), temporary_(fmt::format("{}{}{}", path.string(), kTemporaryMark, getpid())) {
  remove_stale_temporaries(path_);
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  require(descriptor_ >= 0, "{}: cannot write: {}", path_.string(), errno_text(errno));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (pending_) unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write_at(size_, bytes);
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void AtomicFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "{}: cannot write: {}", path_.string(), errno_text(written < 0 ? errno : ENOSPC));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
    size_ = std::max(size_, offset);
  }
}

void AtomicFile::seal() {
  if (descriptor_ < 0) return;
  // The calls stand before `require`: nothing says that its condition comes before the text of its error.
  const int synced = fsync(descriptor_);
  require(synced == 0, "{}: cannot sync: {}", path_.string(), errno_text(errno));
  const int closed = close(descriptor_);
  descriptor_ = -1;
  require(closed == 0, "{}: cannot write: {}", path_.string(), errno_text(errno));
}

void AtomicFile::commit() {
  require(pending_, "{}: committed twice", path_.string());
  seal();
  const int renamed = std::rename(temporary_.c_str(), path_.c_str());
  require(renamed == 0, "{}: cannot write: {}", path_.string(), errno_text(errno));
  pending_ = false;
  sync_folder(folder_of(path_));
}

std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  struct stat status {};
  const Descriptor file{open_for_reading(path, status)};
  const auto size = static_cast<std::uint64_t>(status.st_size);
  require(size <= max_bytes, "{}: {} bytes, more than the {} that such a file may have", path.string(), size,
          max_bytes);
  std::string content(size, '\0');
  std::size_t at = 0;
  while (at < content.size()) {
    const ssize_t got = ::read(file.value, content.data() + at, content.size() - at);
    if (got < 0 && errno == EINTR) continue;
    require(got >= 0, "{}: cannot read: {}", path.string(), errno_text(errno));
    if (got == 0) break;
    at += static_cast<std::size_t>(got);
  }
  content.resize(at);
  return content;
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void sync_folder(const std::filesystem::path& folder) {
  const Descriptor descriptor{open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const bool synced = descriptor.value >= 0 && fsync(descriptor.value) == 0;
  require(synced, "{}: cannot sync the folder: {}", folder.string(), errno_text(errno));
}

void create_folders(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "{}: cannot create the folder: {}", folder.string(), error.message());
}

}  // namespace fathom
