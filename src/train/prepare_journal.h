#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/json.h"

namespace fathom {

/// What an interrupted preparation had done: OUTPUT/unfinished/journal.jsonl, a JSON object per line, the
/// first of them the recipe. An entry is on the disk before `append` returns, and what it speaks of must be
/// before. The file is locked while it is open, so that one process alone works in a folder.
class PrepareJournal {
 public:
  /// Opens or begins the journal in `folder`, which is made.
  /// @param recipe  all that decides the bytes of the result. Throws `Error` when the journal has another
  /// one,
  ///                naming the first key that differs, or when another process holds it
  PrepareJournal(const std::filesystem::path& folder, const OrderedJson& recipe);
  ~PrepareJournal();
  PrepareJournal(const PrepareJournal&) = delete;
  PrepareJournal& operator=(const PrepareJournal&) = delete;

  /// What was there when it was opened, without the recipe.
  [[nodiscard]] const std::vector<Json>& entries() const { return entries_; }
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }
  void append(const OrderedJson& entry);

 private:
  void read(const OrderedJson& recipe);

  std::filesystem::path file_;
  int descriptor_ = -1;
  std::vector<Json> entries_;
};

/// A file of fixed-size entries that grows, of which a journal says how much counts.
class GrowingFile {
 public:
  /// Opens or makes the file and drops all after its first `bytes`. Throws `Error` when it has fewer.
  GrowingFile(const std::filesystem::path& path, std::uint64_t bytes);
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  void append(std::span<const std::byte> bytes);
  /// Makes all that was appended durable.
  void sync();

 private:
  void flush();

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::vector<std::byte> buffer_;
};

}  // namespace fathom
