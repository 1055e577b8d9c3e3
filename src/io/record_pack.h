#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "io/safetensors_header.h"
#include "tensor/tensor.h"

namespace fathom {

// A pack of records, version 1: tensors that are wanted together lie together, each record where a direct
// read can fetch it whole. Little-endian throughout:
//   "FATHPACK", u32 version, u32 groups, u64 bytes of this index (from the start of the file to its last
//   checksum), u64 bytes of the file, u64 XXH64 of what follows in the index;
//   for each group its u64 key, u32 records, u32 parts; for each part u32 length and text of its name, the
//   same of its type, u32 dimensions, u64 sizes (slowest first); u64 XXH64 of each record, padding left out;
// then the records, group by group, each at a multiple of 4096 bytes. In a record its parts follow one
// another, each at a multiple of 64 bytes. All places follow from the sizes.

/// Records begin at multiples of this, and take whole ones: what every disk reads directly.
inline constexpr std::uint64_t kRecordAlignment = 4096;

/// Records of one kind.
struct RecordGroup {
  std::int64_t key = 0;  // what they belong to, as the writer says: a layer's number
  std::int64_t records = 0;
  std::vector<StoredTensor> parts;  // of each record

  // These follow from them.
  std::vector<std::uint64_t> part_offsets = {};  // [parts], from the start of a record
  std::uint64_t record_bytes = 0;                // without padding
  std::uint64_t stride = 0;                      // with it
  std::uint64_t first = 0;                       // of the first record, from the start of the file

  std::vector<std::uint64_t> checksums = {};  // [records]

  [[nodiscard]] std::uint64_t offset(std::int64_t record) const {
    return first + static_cast<std::uint64_t>(record) * stride;
  }
};

/// Writes a pack a record at a time, in any order. Nothing appears under its name before `commit`.
class RecordPackWriter {
 public:
  /// @param groups  their keys, records and parts
  /// Throws `Error` naming the file where it cannot be made, or where a group cannot be stored.
  RecordPackWriter(const std::filesystem::path& path, std::vector<RecordGroup> groups);

  /// @param parts  of the types and shapes that the group says
  void write(std::size_t group, std::int64_t record, std::span<const Tensor> parts);

  /// Throws `Error` where a record was not written. @return the pack's `id`
  std::uint64_t commit();

  /// Of the file.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] const std::vector<RecordGroup>& groups() const { return groups_; }

 private:
  AtomicFile file_;
  std::vector<RecordGroup> groups_;
  std::uint64_t bytes_ = 0;
  std::vector<std::vector<bool>> written_;  // [groups][records]
};

/// A pack to read. The index is checked whole when it is opened; the records are not looked at.
class RecordPack {
 public:
  /// Throws `Error` naming the file and what is wrong with it.
  explicit RecordPack(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return file_->path(); }
  [[nodiscard]] const std::vector<RecordGroup>& groups() const { return groups_; }
  /// The group of a key; null where there is none.
  [[nodiscard]] const RecordGroup* find(std::int64_t key) const;
  /// Tells packs of other content apart: the checksum of all checksums, names and sizes.
  [[nodiscard]] std::uint64_t id() const { return id_; }

  /// A view of the mapped file, which it keeps alive. Pages are read on first touch.
  [[nodiscard]] Tensor part(const RecordGroup& group, std::int64_t record, std::size_t part) const;

  /// Throws `Error` where the bytes of a record, padding left out, are not those that were written.
  void check(const RecordGroup& group, std::int64_t record, std::span<const std::byte> bytes) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<RecordGroup> groups_;
  std::uint64_t id_ = 0;
};

}  // namespace fathom
