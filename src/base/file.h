#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace fathom {

/// A whole file mapped read-only. Pages are read on first touch and shared with other processes.
/// The file must not be truncated while mapped (the kernel would raise SIGBUS); writers here replace files
/// whole.
class MappedFile {
 public:
  /// Throws `Error` when the file cannot be opened, is not a regular file, or is empty.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Enters those pages of a part of a mapped file into this process's tables that are in memory already, so
/// that a first touch need not (a tenth of a second for 10 GB, where touches would take as long for each
/// gigabyte that is used). What is only on disk stays there. Where the system cannot, nothing happens.
void map_cached_pages(std::span<const std::byte> mapped);

/// A regular file read from its beginning to its end.
class InputFile {
 public:
  /// Throws `Error` when the file cannot be opened or is not a regular file.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Reads up to `out.size()` bytes. @return how many; 0 at the end of the file alone
  std::size_t read(std::span<std::byte> out);
  [[nodiscard]] std::uint64_t bytes_read() const { return bytes_read_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t bytes_read_ = 0;
};

/// A file that appears under its name whole or not at all: written beside it as `NAME.tmp-PID`, synced,
/// renamed, and the folder synced. Destroyed before `commit`, it leaves nothing behind; what a process that
/// was killed left of the same file goes away when the file is written next. Each failure throws `Error` with
/// the file's name and the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends. Throws `Error` naming the file on a short write (a full disk).
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Writes at `offset` bytes from the start, in any order; what is never written reads as zeros.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Bytes from the start to the end of what was written.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Makes the content durable and closes the descriptor; the file still waits for `commit` under its
  /// temporary name. For writers of many files that must appear together.
  void seal();
  /// Seals if need be, and gives the file its name.
  void commit();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool pending_ = true;  // the temporary file exists
  std::uint64_t size_ = 0;
};

/// The process whose unfinished `AtomicFile` has this file name (`NAME.tmp-PID`), where it is such a name.
std::optional<std::int64_t> writer_of_temporary(std::string_view file_name);

/// Reads a text file whole. `max_bytes` bounds what a hostile file can make us allocate.
std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes);

void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Makes a renamed or created entry of `folder` durable.
void sync_folder(const std::filesystem::path& folder);

/// Creates `folder` and its parents; throws `Error` naming it when that fails.
void create_folders(const std::filesystem::path& folder);

}  // namespace fathom
