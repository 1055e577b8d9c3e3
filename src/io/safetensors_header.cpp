#include "io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/json.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are mapped as they lie in the file");

constexpr std::size_t kLengthBytes = 8;
/// The limit of the safetensors library. The header of a 1,000-billion-parameter file is some 10 MB.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kDataAlignment = 64;
constexpr std::string_view kMetadataKey = "__metadata__";

struct FormatType {
  std::string_view name;
  std::uint64_t bits;
};
/// Every element type of the format (safetensors 0.8).
constexpr std::array<FormatType, 22> kFormatTypes = {
    {{"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"U8", 8},      {"I8", 8},
     {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8}, {"I16", 16},
     {"U16", 16},    {"F16", 16},    {"BF16", 16},       {"I32", 32},        {"U32", 32},    {"F32", 32},
     {"C64", 64},    {"F64", 64},    {"I64", 64},        {"U64", 64}}};

std::optional<std::uint64_t> type_bits(std::string_view name) {
  for (const FormatType& type : kFormatTypes)
    if (type.name == name) return type.bits;
  return std::nullopt;
}

/// Bytes of a tensor; nothing when they overflow or are not whole.
std::optional<std::uint64_t> tensor_bytes(const Shape& shape, std::uint64_t bits) {
  std::uint64_t total = bits;
  for (const std::int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(total, static_cast<std::uint64_t>(size), &total))
      return std::nullopt;
  if (total % 8 != 0) return std::nullopt;
  return total / 8;
}

/// One entry of the header under way: its place for messages, and typed access to its keys.
class EntryReader {
 public:
  EntryReader(const std::string& name, const Json& json, std::string_view where, std::uint64_t data_bytes)
      : name_(name), json_(json), where_(where), data_bytes_(data_bytes) {}

  TensorEntry read() const {
    require(json_.is_object(), "{}: needs an object with dtype, shape and data_offsets", place());
    for (const auto& [key, value] : json_.items())
      require(key == "dtype" || key == "shape" || key == "data_offsets",
              "{}: has the unknown key \"{}\" (expected dtype, shape and data_offsets)", place(),
              printable(key));
    TensorEntry entry;
    entry.name = name_;
    const Json& dtype = member("dtype");
    require(dtype.is_string(), "{}: dtype is not a string", place());
    entry.dtype = dtype.get_ref<const std::string&>();
    const std::optional<std::uint64_t> bits = type_bits(entry.dtype);
    require(bits.has_value(), "{}: dtype \"{}\" is not one of the safetensors format", place(),
            printable(entry.dtype));
    entry.shape = read_shape();
    const std::optional<std::uint64_t> needed = tensor_bytes(entry.shape, *bits);
    require(needed.has_value(), "{}: shape {} of {} is not a valid number of bytes", place(),
            shape_text(entry.shape), entry.dtype);
    const auto [begin, end] = read_offsets();
    require(begin <= end, "{}: data_offsets [{}, {}] end before they begin", place(), begin, end);
    require(end <= data_bytes_,
            "{}: data_offsets [{}, {}] reach beyond the file, which holds {} bytes of data (truncated?)",
            place(), begin, end, data_bytes_);
    require(end - begin == *needed, "{}: shape {} of {} needs {} bytes, data_offsets [{}, {}] give {}",
            place(), shape_text(entry.shape), entry.dtype, *needed, begin, end, end - begin);
    entry.offset = begin;
    entry.bytes = end - begin;
    return entry;
  }

 private:
  [[nodiscard]] std::string place() const { return fmt::format("{}: tensor {}", where_, printable(name_)); }

  [[nodiscard]] const Json& member(const char* key) const {
    const auto found = json_.find(key);
    require(found != json_.end(), "{}: has no {}", place(), key);
    return *found;
  }

  [[nodiscard]] Shape read_shape() const {
    const Json& json = member("shape");
    require(json.is_array(), "{}: shape is not an array", place());
    constexpr std::size_t kMaxDimensions = 32;
    require(json.size() <= kMaxDimensions, "{}: shape has {} dimensions, at most {} are read", place(),
            json.size(), kMaxDimensions);
    Shape shape;
    for (const Json& size : json) {
      require(size.is_number_unsigned() && size.get<std::uint64_t>() <= std::uint64_t{INT64_MAX},
              "{}: shape holds {}, which is no size", place(), printable(size.dump()));
      shape.push_back(size.get<std::int64_t>());
    }
    return shape;
  }

  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> read_offsets() const {
    const Json& json = member("data_offsets");
    require(
        json.is_array() && json.size() == 2 && json[0].is_number_unsigned() && json[1].is_number_unsigned(),
        "{}: data_offsets is not a pair of offsets", place());
    return {json[0].get<std::uint64_t>(), json[1].get<std::uint64_t>()};
  }

  const std::string& name_;
  const Json& json_;
  std::string_view where_;
  std::uint64_t data_bytes_;
};

TensorMetadata read_metadata(const Json& json, std::string_view where) {
  require(json.is_object(), "{}: {} is not an object", where, kMetadataKey);
  TensorMetadata metadata;
  for (const auto& [key, value] : json.items()) {
    require(value.is_string(), "{}: {} holds \"{}\", which is not a string", where, kMetadataKey,
            printable(key));
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

/// The entries, sorted by offset, must cover [0, data_bytes) one after another.
void check_coverage(const std::vector<TensorEntry>& entries, std::uint64_t data_bytes,
                    std::string_view where) {
  std::uint64_t at = 0;
  const TensorEntry* previous = nullptr;
  for (const TensorEntry& entry : entries) {
    require(entry.offset >= at,
            "{}: tensor {} begins at byte {} of the data, inside tensor {}, which ends at {}", where,
            printable(entry.name), entry.offset, previous == nullptr ? "" : printable(previous->name), at);
    require(entry.offset == at,
            "{}: tensor {} begins at byte {} of the data, expected {}: a hole of {} bytes", where,
            printable(entry.name), entry.offset, at, entry.offset - at);
    at = entry.offset + entry.bytes;
    previous = &entry;
  }
  require(at == data_bytes,
          "{}: {} bytes after the last tensor belong to none (expected the file to end there)", where,
          data_bytes - at);
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, std::string_view where) {
  require(file.size() >= kLengthBytes, "{}: {} bytes, too short for a safetensors file (truncated?)", where,
          file.size());
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  require(length <= kMaxHeaderBytes,
          "{}: a header of {} bytes, more than the {} allowed; not a safetensors file?", where, length,
          kMaxHeaderBytes);
  require(length <= file.size() - kLengthBytes,
          "{}: a header of {} bytes, but only {} follow in the file (truncated?)", where, length,
          file.size() - kLengthBytes);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  const Json json = parse_json(text, fmt::format("{}: header", where));
  require(json.is_object(), "{}: the header is not a JSON object", where);

  SafetensorsHeader header;
  const std::uint64_t data_begin = kLengthBytes + length;
  const std::uint64_t data_bytes = file.size() - data_begin;
  for (const auto& [name, value] : json.items()) {
    if (name == kMetadataKey) {
      header.metadata = read_metadata(value, where);
    } else {
      header.entries.push_back(EntryReader(name, value, where, data_bytes).read());
    }
  }
  std::ranges::sort(header.entries, [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  check_coverage(header.entries, data_bytes, where);
  for (TensorEntry& entry : header.entries) entry.offset += data_begin;
  return header;
}

SafetensorsHeader lay_out_safetensors(const std::vector<StoredTensor>& tensors, TensorMetadata metadata,
                                      std::string_view where) {
  std::vector<const StoredTensor*> order;
  std::set<std::string_view> names;
  for (const StoredTensor& tensor : tensors) {
    require(tensor.name != kMetadataKey && names.insert(tensor.name).second,
            "{}: tensor {}: the name is taken", where, printable(tensor.name));
    order.push_back(&tensor);
  }
  std::ranges::stable_sort(order, std::greater{}, [](const StoredTensor* t) { return dtype_size(t->dtype); });
  SafetensorsHeader header{{}, std::move(metadata)};
  std::uint64_t at = 0;
  for (const StoredTensor* tensor : order) {
    const auto bytes = tensor_bytes(tensor->shape, 8 * dtype_size(tensor->dtype));
    require(bytes.has_value() && *bytes <= std::uint64_t{INT64_MAX} - at,
            "{}: tensor {}: shape {} is too large", where, printable(tensor->name),
            shape_text(tensor->shape));
    header.entries.push_back(
        {tensor->name, std::string(dtype_name(tensor->dtype)), tensor->shape, at, *bytes});
    at += *bytes;
  }
  return header;
}

std::string serialize_safetensors_header(SafetensorsHeader& header) {
  Json json = Json::object();
  if (!header.metadata.empty()) json[std::string(kMetadataKey)] = header.metadata;
  std::uint64_t at = 0;
  for (const TensorEntry& entry : header.entries) {
    json[entry.name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {at, at + entry.bytes}}};
    at += entry.bytes;
  }
  std::string text = json.dump();
  text.append((kDataAlignment - (kLengthBytes + text.size()) % kDataAlignment) % kDataAlignment, ' ');
  std::array<char, kLengthBytes> length{};
  const std::uint64_t size = text.size();
  std::memcpy(length.data(), &size, kLengthBytes);
  text.insert(0, length.data(), kLengthBytes);
  std::uint64_t offset = text.size();
  for (TensorEntry& entry : header.entries) {
    entry.offset = offset;
    offset += entry.bytes;
  }
  return text;
}

}  // namespace fathom
