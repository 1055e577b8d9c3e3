#include "io/record_pack.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>
#include <string>

#include "base/checksum.h"
#include "base/error.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little,
              "packs are read and written as numbers lie in memory");

constexpr std::string_view kPackMagic = "FATHPACK";
constexpr std::uint32_t kPackVersion = 1;
constexpr std::uint64_t kPackHeaderBytes = 40;  // what is before the groups
constexpr std::uint64_t kPartAlignment = 64;
// Far above what any model needs; what a hostile file can make us allocate is bounded by its own size.
constexpr std::uint32_t kMostGroups = 1U << 16U;
constexpr std::uint32_t kMostRecords = 1U << 20U;
constexpr std::uint32_t kMostParts = 64;
constexpr std::uint32_t kMostDimensions = 4;
constexpr std::uint32_t kLongestPartName = 255;
constexpr std::uint64_t kMostRecordBytes = std::uint64_t{1} << 40U;

std::uint64_t aligned(std::uint64_t bytes, std::uint64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// Bytes of a part; nothing where its shape is none, or too large.
std::optional<std::uint64_t> part_bytes(const StoredTensor& part) {
  std::int64_t count = 1;
  for (const std::int64_t size : part.shape)
    if (size <= 0 || __builtin_mul_overflow(count, size, &count)) return std::nullopt;
  if (part.shape.empty() || part.shape.back() % block_values(part.dtype) != 0) return std::nullopt;
  const auto blocks = static_cast<std::uint64_t>(count / block_values(part.dtype));
  if (blocks > kMostRecordBytes / block_bytes(part.dtype)) return std::nullopt;
  return blocks * block_bytes(part.dtype);
}

/// Fills in what follows from keys, records and parts.
/// @param index_bytes  before the records
/// @return bytes of the file
std::uint64_t place_records(std::vector<RecordGroup>& groups, std::uint64_t index_bytes,
                            const std::string& where) {
  std::uint64_t end = aligned(index_bytes, kRecordAlignment);
  std::set<std::int64_t> keys;
  for (RecordGroup& group : groups) {
    require(keys.insert(group.key).second, "{}: two groups have the key {}", where, group.key);
    group.part_offsets.clear();
    group.record_bytes = 0;
    for (const StoredTensor& part : group.parts) {
      const std::optional<std::uint64_t> bytes = part_bytes(part);
      require(bytes.has_value(), "{}: part {} of group {} cannot be {} {}", where, printable(part.name),
              group.key, dtype_name(part.dtype), shape_text(part.shape));
      group.part_offsets.push_back(aligned(group.record_bytes, kPartAlignment));
      group.record_bytes = group.part_offsets.back() + *bytes;
      require(group.record_bytes <= kMostRecordBytes, "{}: a record of group {} is larger than {} bytes",
              where, group.key, kMostRecordBytes);
    }
    require(group.record_bytes > 0 && group.records > 0, "{}: group {} is empty", where, group.key);
    group.stride = aligned(group.record_bytes, kRecordAlignment);
    group.first = end;
    std::uint64_t bytes = 0;
    const bool overflows =
        __builtin_mul_overflow(group.stride, static_cast<std::uint64_t>(group.records), &bytes) ||
        __builtin_add_overflow(end, bytes, &end);
    require(!overflows && end <= std::uint64_t{INT64_MAX}, "{}: group {} is too large", where, group.key);
  }
  return end;
}

template <typename Number>
void append(std::string& text, Number value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append_text(std::string& text, std::string_view added) {
  append(text, static_cast<std::uint32_t>(added.size()));
  text += added;
}

std::string index_text(const std::vector<RecordGroup>& groups, std::uint64_t file_bytes) {
  std::string body;
  for (const RecordGroup& group : groups) {
    append(body, static_cast<std::uint64_t>(group.key));
    append(body, static_cast<std::uint32_t>(group.records));
    append(body, static_cast<std::uint32_t>(group.parts.size()));
    for (const StoredTensor& part : group.parts) {
      append_text(body, part.name);
      append_text(body, dtype_name(part.dtype));
      append(body, static_cast<std::uint32_t>(part.shape.size()));
      for (const std::int64_t size : part.shape) append(body, static_cast<std::uint64_t>(size));
    }
    for (const std::uint64_t checksum : group.checksums) append(body, checksum);
  }
  std::string index(kPackMagic);
  append(index, kPackVersion);
  append(index, static_cast<std::uint32_t>(groups.size()));
  append(index, kPackHeaderBytes + body.size());
  append(index, file_bytes);
  append(index, checksum(body));
  return index + body;
}

/// Takes numbers and texts off the front of an index.
class IndexReader {
 public:
  IndexReader(std::span<const std::byte> bytes, const std::string& where) : rest_(bytes), where_(where) {}

  template <typename Number>
  Number number() {
    Number value = 0;
    std::memcpy(&value, take(sizeof(value)).data(), sizeof(value));
    return value;
  }
  /// A number that must be in [least, most].
  std::int64_t number_within(std::uint32_t least, std::uint32_t most, std::string_view what) {
    const auto value = number<std::uint32_t>();
    require(value >= least && value <= most, "{}: {} is {}, expected {} to {}", where_, what, value, least,
            most);
    return value;
  }
  std::string text(std::string_view what) {
    const auto length = static_cast<std::size_t>(number_within(1, kLongestPartName, what));
    const std::span<const std::byte> bytes = take(length);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  [[nodiscard]] std::size_t left() const { return rest_.size(); }

 private:
  std::span<const std::byte> take(std::size_t count) {
    require(count <= rest_.size(), "{}: its index ends in the middle of an entry", where_);
    const std::span<const std::byte> taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }

  std::span<const std::byte> rest_;
  const std::string& where_;
};

StoredTensor read_part(IndexReader& index, const std::string& where) {
  StoredTensor part;
  part.name = index.text("the length of a part's name");
  const std::string type = index.text("the length of a type's name");
  const std::optional<DType> dtype = dtype_from_text(type);
  require(dtype.has_value(), "{}: part {} is of the unknown type {}; a newer version may have written it",
          where, printable(part.name), printable(type));
  part.dtype = *dtype;
  const std::int64_t dimensions = index.number_within(1, kMostDimensions, "a part's number of dimensions");
  for (std::int64_t d = 0; d < dimensions; ++d) {
    const auto size = index.number<std::uint64_t>();
    require(size <= std::uint64_t{INT64_MAX}, "{}: part {} has a dimension of {}", where,
            printable(part.name), size);
    part.shape.push_back(static_cast<std::int64_t>(size));
  }
  return part;
}

RecordGroup read_group(IndexReader& index, const std::string& where) {
  RecordGroup group;
  group.key = static_cast<std::int64_t>(index.number<std::uint64_t>());
  group.records = index.number_within(1, kMostRecords, "a group's number of records");
  const std::int64_t parts = index.number_within(1, kMostParts, "a group's number of parts");
  for (std::int64_t i = 0; i < parts; ++i) group.parts.push_back(read_part(index, where));
  require(static_cast<std::uint64_t>(group.records) <= index.left() / sizeof(std::uint64_t),
          "{}: its index ends in the middle of an entry", where);
  for (std::int64_t i = 0; i < group.records; ++i) group.checksums.push_back(index.number<std::uint64_t>());
  return group;
}

}  // namespace

RecordPackWriter::RecordPackWriter(const std::filesystem::path& path, std::vector<RecordGroup> groups)
    : file_(path), groups_(std::move(groups)) {
  const std::string where = path.string();
  require(!groups_.empty() && groups_.size() <= kMostGroups, "{}: cannot hold {} groups", where,
          groups_.size());
  for (RecordGroup& group : groups_) {
    require(group.records > 0 && group.records <= std::int64_t{kMostRecords} && !group.parts.empty() &&
                group.parts.size() <= kMostParts,
            "{}: group {} cannot have {} records of {} parts", where, group.key, group.records,
            group.parts.size());
    for (const StoredTensor& part : group.parts)
      require(
          !part.name.empty() && part.name.size() <= kLongestPartName && part.shape.size() <= kMostDimensions,
          "{}: part {} has too long a name or too many dimensions", where, printable(part.name));
    group.checksums.assign(static_cast<std::size_t>(group.records), 0);
    written_.emplace_back(static_cast<std::size_t>(group.records), false);
  }
  bytes_ = place_records(groups_, index_text(groups_, 0).size(), where);
}

void RecordPackWriter::write(std::size_t group, std::int64_t record, std::span<const Tensor> parts) {
  const RecordGroup& place = groups_.at(group);
  const std::string where = file_.path().string();
  require(record >= 0 && record < place.records && parts.size() == place.parts.size(),
          "{}: group {} has no record {} of {} parts", where, place.key, record, parts.size());
  constexpr std::byte kPadding[kRecordAlignment] = {};
  Checksum sum;
  std::uint64_t at = 0;
  const auto put = [&](std::span<const std::byte> bytes) {
    file_.write_at(place.offset(record) + at, bytes);
    at += bytes.size();
  };
  for (std::size_t i = 0; i < parts.size(); ++i) {
    require(parts[i].shape() == place.parts[i].shape && parts[i].dtype() == place.parts[i].dtype,
            "{}: part {} is {} {}, its group says {} {}", where, place.parts[i].name,
            dtype_name(parts[i].dtype()), shape_text(parts[i].shape()), dtype_name(place.parts[i].dtype),
            shape_text(place.parts[i].shape));
    const std::span<const std::byte> gap = std::span(kPadding).first(place.part_offsets[i] - at);
    sum.update(gap);
    put(gap);
    sum.update(parts[i].bytes());
    put(parts[i].bytes());
  }
  put(std::span(kPadding).first(place.stride - at));
  groups_[group].checksums[static_cast<std::size_t>(record)] = sum.value();
  written_[group][static_cast<std::size_t>(record)] = true;
}

std::uint64_t RecordPackWriter::commit() {
  for (std::size_t g = 0; g < groups_.size(); ++g)
    require(std::ranges::find(written_[g], false) == written_[g].end(),
            "{}: a record of group {} was not written", file_.path().string(), groups_[g].key);
  const std::string index = index_text(groups_, bytes_);
  file_.write_at(0, std::as_bytes(std::span(index)));
  file_.commit();
  return checksum(std::string_view(index).substr(kPackHeaderBytes));
}

RecordPack::RecordPack(const std::filesystem::path& path) : file_(std::make_shared<MappedFile>(path)) {
  const std::string where = path.string();
  const std::span<const std::byte> bytes = file_->bytes();
  require(bytes.size() >= kPackHeaderBytes &&
              std::memcmp(bytes.data(), kPackMagic.data(), kPackMagic.size()) == 0,
          "{}: not a pack of experts, which begins with {}", where, kPackMagic);
  IndexReader header(bytes.subspan(kPackMagic.size(), kPackHeaderBytes - kPackMagic.size()), where);
  const auto version = header.number<std::uint32_t>();
  require(version == kPackVersion, "{}: is of version {}, this program reads version {}", where, version,
          kPackVersion);
  const std::int64_t groups = header.number_within(1, kMostGroups, "its number of groups");
  const auto index_bytes = header.number<std::uint64_t>();
  const auto file_bytes = header.number<std::uint64_t>();
  id_ = header.number<std::uint64_t>();
  require(file_bytes == bytes.size(), "{}: has {} bytes, its index says {} (truncated?)", where, bytes.size(),
          file_bytes);
  require(index_bytes >= kPackHeaderBytes && index_bytes <= bytes.size(),
          "{}: its index is said to have {} bytes, of a file of {}", where, index_bytes, bytes.size());
  const std::span<const std::byte> body = bytes.subspan(kPackHeaderBytes, index_bytes - kPackHeaderBytes);
  require(checksum(body) == id_, "{}: its index is damaged: copy the file again, or convert the model again",
          where);
  IndexReader index(body, where);
  for (std::int64_t g = 0; g < groups; ++g) groups_.push_back(read_group(index, where));
  require(index.left() == 0, "{}: its index has {} bytes too many", where, index.left());
  const std::uint64_t end = place_records(groups_, index_bytes, where);
  require(end == file_bytes, "{}: has {} bytes, its records need {}", where, file_bytes, end);
}

const RecordGroup* RecordPack::find(std::int64_t key) const {
  const auto found = std::ranges::find(groups_, key, &RecordGroup::key);
  return found == groups_.end() ? nullptr : &*found;
}

Tensor RecordPack::part(const RecordGroup& group, std::int64_t record, std::size_t part) const {
  const std::byte* data = file_->bytes().data() + group.offset(record) + group.part_offsets.at(part);
  // `Tensor` has one kind of pointer; the mapping is read-only, so a write would fault, not corrupt the file.
  return Tensor::view(const_cast<std::byte*>(data), group.parts[part].shape, group.parts[part].dtype, file_);
}

void RecordPack::check(const RecordGroup& group, std::int64_t record,
                       std::span<const std::byte> bytes) const {
  require(checksum(bytes.first(group.record_bytes)) == group.checksums[static_cast<std::size_t>(record)],
          "{}: record {} of group {} is damaged: copy the file again, or convert the model again",
          path().string(), record, group.key);
}

}  // namespace fathom
