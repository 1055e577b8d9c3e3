#include "io/gguf_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are mapped as they lie in the file");

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint32_t kVersion = 3;
constexpr std::uint32_t kOldestVersion = 2;
constexpr std::uint64_t kMostKeyBytes = 65535;
constexpr std::uint64_t kMostNameBytes = 1024;
/// Arrays of arrays; nothing known has more than two.
constexpr int kDeepestArray = 4;
/// Far above any vocabulary (Kimi-K2's header has some 10 MB); bounds what a hostile file makes us allocate.
constexpr std::uint64_t kMostHeaderBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMostAlignment = std::uint64_t{1} << 20;

/// Takes values from the front of a file.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string_view where)
      : bytes_(bytes.first(std::min<std::size_t>(bytes.size(), kMostHeaderBytes))),
        where_(where),
        is_cut_(bytes.size() > bytes_.size()) {}

  [[nodiscard]] std::uint64_t at() const { return at_; }
  [[nodiscard]] std::uint64_t left() const { return bytes_.size() - at_; }

  std::span<const std::byte> take(std::uint64_t count, std::string_view what) {
    if (count > left())  // not `require`, whose texts would be made for every one of 100,000 tokens
      fail("{}: {} needs {} bytes at byte {}, {} are left ({})", where_, printable(what), count, at_, left(),
           is_cut_ ? "headers beyond 1 GiB are refused" : "truncated?");
    const auto taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  template <typename T>
  T number(std::string_view what) {
    T value{};
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string string(std::string_view what) {
    const auto length = number<std::uint64_t>(what);
    const auto text = take(length, what);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  bool boolean(std::string_view what) {
    const auto byte = number<std::uint8_t>(what);
    if (byte > 1) fail("{}: {} holds the bool {}, expected 0 or 1", where_, printable(what), byte);
    return byte == 1;
  }

  [[nodiscard]] std::string_view where() const { return where_; }

 private:
  std::span<const std::byte> bytes_;
  std::string_view where_;
  bool is_cut_;
  std::uint64_t at_ = 0;
};

std::uint32_t read_type(Cursor& cursor, const std::string& key) {
  const auto type = cursor.number<std::uint32_t>(key);
  require(type < std::variant_size_v<GgufValue>, "{}: {} is of type {}, which GGUF does not have",
          cursor.where(), printable(key), type);
  return type;
}

/// Calls `visit` with a value of the variant's alternative `type`, as yet empty.
template <typename Variant, typename Visit, std::size_t... I>
void with_alternative(std::size_t type, const Visit& visit, std::index_sequence<I...>) {
  ((type == I ? visit(std::variant_alternative_t<I, Variant>()) : void()), ...);
}
template <typename Variant, typename Visit>
void with_alternative(std::size_t type, const Visit& visit) {
  with_alternative<Variant>(type, visit, std::make_index_sequence<std::variant_size_v<Variant>>());
}

GgufArray read_array(Cursor& cursor, const std::string& key, int depth);

template <typename T>
T read_element(Cursor& cursor, const std::string& key, int depth) {
  if constexpr (std::is_same_v<T, std::string>) {
    return cursor.string(key);
  } else if constexpr (std::is_same_v<T, GgufArray>) {
    return read_array(cursor, key, depth + 1);
  } else if constexpr (std::is_same_v<T, bool>) {
    return cursor.boolean(key);
  } else {
    return cursor.number<T>(key);
  }
}

/// The least that an element takes in the file, so that no more are made room for than can be there.
template <typename T>
constexpr std::uint64_t least_bytes() {
  if constexpr (std::is_same_v<T, std::string>) return sizeof(std::uint64_t);
  if constexpr (std::is_same_v<T, GgufArray>) return sizeof(std::uint32_t) + sizeof(std::uint64_t);
  return std::is_same_v<T, bool> ? 1 : sizeof(T);
}

GgufArray read_array(Cursor& cursor, const std::string& key, int depth) {
  require(depth <= kDeepestArray, "{}: {} holds arrays of arrays more than {} deep", cursor.where(),
          printable(key), kDeepestArray);
  const std::uint32_t type = read_type(cursor, key);
  const auto count = cursor.number<std::uint64_t>(key);
  GgufArray array;
  with_alternative<decltype(array.values)>(type, [&](auto elements) {
    using Element = typename decltype(elements)::value_type;
    require(count <= cursor.left() / least_bytes<Element>(),
            "{}: {} has {} elements, more than the file can hold", cursor.where(), printable(key), count);
    elements.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) elements.push_back(read_element<Element>(cursor, key, depth));
    array.values = std::move(elements);
  });
  return array;
}

GgufMetadata read_metadata(Cursor& cursor, std::uint64_t count) {
  GgufMetadata metadata;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string key = cursor.string("a metadata key");
    require(!key.empty() && key.size() <= kMostKeyBytes, "{}: a metadata key of {} bytes, expected 1 to {}",
            cursor.where(), key.size(), kMostKeyBytes);
    require(!metadata.contains(key), "{}: the key {} is there twice", cursor.where(), printable(key));
    with_alternative<GgufValue>(read_type(cursor, key), [&](auto value) {
      metadata.set(key, read_element<decltype(value)>(cursor, key, 0));
    });
  }
  return metadata;
}

std::uint64_t alignment_of(const GgufMetadata& metadata, std::string_view where) {
  const GgufValue* given = metadata.find(kGgufAlignmentKey);
  if (given == nullptr) return kGgufDefaultAlignment;
  const auto alignment = integer_of(*given);
  require(alignment.has_value() && *alignment >= 8 && std::uint64_t(*alignment) <= kMostAlignment &&
              std::has_single_bit(std::uint64_t(*alignment)),
          "{}: {} is {}, expected a power of two from 8 to {}", where, kGgufAlignmentKey,
          gguf_value_text(*given), kMostAlignment);
  return static_cast<std::uint64_t>(*alignment);
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// A tensor's entry; its offset counts from the beginning of the data as yet.
GgufTensor read_tensor(Cursor& cursor, std::uint64_t alignment) {
  GgufTensor tensor;
  tensor.name = cursor.string("a tensor's name");
  require(!tensor.name.empty() && tensor.name.size() <= kMostNameBytes,
          "{}: a tensor's name of {} bytes, expected 1 to {}", cursor.where(), tensor.name.size(),
          kMostNameBytes);
  const auto place = [&] { return fmt::format("{}: tensor {}", cursor.where(), printable(tensor.name)); };
  const auto dimensions = cursor.number<std::uint32_t>(tensor.name);
  require(dimensions <= kGgufMaxDimensions, "{}: {} dimensions, expected at most {}", place(), dimensions,
          kGgufMaxDimensions);
  for (std::uint32_t d = 0; d < dimensions; ++d) {
    const auto size = cursor.number<std::uint64_t>(tensor.name);
    require(size <= std::uint64_t{INT64_MAX}, "{}: a dimension of {} elements", place(), size);
    tensor.shape.push_back(static_cast<std::int64_t>(size));
  }
  std::ranges::reverse(tensor.shape);
  const auto type = cursor.number<std::uint32_t>(tensor.name);
  tensor.type = find_gguf_type(type);
  require(tensor.type != nullptr, "{}: is of type {}, which is not known; a newer format?", place(), type);
  try {
    tensor.bytes = gguf_tensor_bytes(tensor.shape, *tensor.type);
  } catch (const Error& error) {
    fail("{}: {}", place(), error.what());
  }
  tensor.offset = cursor.number<std::uint64_t>(tensor.name);
  require(tensor.offset % alignment == 0, "{}: begins at byte {} of the data, expected a multiple of {}",
          place(), tensor.offset, alignment);
  return tensor;
}

void check_places(const std::vector<GgufTensor>& tensors, std::uint64_t data_bytes, std::string_view where) {
  std::vector<const GgufTensor*> order;
  std::set<std::string_view> names;
  for (const GgufTensor& tensor : tensors) {
    require(names.insert(tensor.name).second, "{}: tensor {} is there twice", where, printable(tensor.name));
    require(tensor.offset <= data_bytes && tensor.bytes <= data_bytes - tensor.offset,
            "{}: tensor {} of {} bytes at byte {} of the data reaches beyond the file, which holds {} "
            "(truncated?)",
            where, printable(tensor.name), tensor.bytes, tensor.offset, data_bytes);
    if (tensor.bytes > 0) order.push_back(&tensor);
  }
  std::ranges::sort(order, {}, &GgufTensor::offset);
  for (std::size_t i = 1; i < order.size(); ++i)
    require(order[i]->offset >= order[i - 1]->offset + order[i - 1]->bytes,
            "{}: tensor {} begins inside tensor {}", where, printable(order[i]->name),
            printable(order[i - 1]->name));
}

// ---- writing

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void put_string(std::string& out, std::string_view text) {
  put<std::uint64_t>(out, text.size());
  out += text;
}

void put_array(std::string& out, const GgufArray& array);

template <typename T>
void put_element(std::string& out, const T& element) {
  if constexpr (std::is_same_v<T, std::string>) {
    put_string(out, element);
  } else if constexpr (std::is_same_v<T, GgufArray>) {
    put_array(out, element);
  } else {
    put<T>(out, element);  // a bool is one byte
  }
}

void put_array(std::string& out, const GgufArray& array) {
  put(out, static_cast<std::uint32_t>(array.values.index()));
  put<std::uint64_t>(out, array.size());
  std::visit(
      [&](const auto& elements) {
        using Element = typename std::decay_t<decltype(elements)>::value_type;
        for (const Element& element : elements) put_element<Element>(out, element);
      },
      array.values);
}

}  // namespace

std::uint64_t gguf_tensor_bytes(const Shape& shape, const GgufTensorType& type) {
  const std::int64_t row = shape.empty() ? 1 : shape.back();
  require(row % type.block_values == 0, "rows of {} values of {}, expected a multiple of {}", row, type.name,
          type.block_values);
  std::uint64_t bytes = 0;
  const std::int64_t elements = element_count(shape);
  require(!__builtin_mul_overflow(static_cast<std::uint64_t>(elements / type.block_values), type.block_bytes,
                                  &bytes) &&
              bytes <= std::uint64_t{INT64_MAX},
          "shape {} of {} is too large", shape_text(shape), type.name);
  return bytes;
}

GgufHeader parse_gguf_header(std::span<const std::byte> file, std::string_view where) {
  Cursor cursor(file, where);
  const auto magic = cursor.take(kMagic.size(), "the magic number");
  require(std::memcmp(magic.data(), kMagic.data(), kMagic.size()) == 0,
          "{}: does not begin with \"GGUF\"; not a GGUF file", where);
  const auto version = cursor.number<std::uint32_t>("the version");
  require(version < (1U << 16U), "{}: is of a big-endian machine; convert it there", where);
  require(kOldestVersion <= version && version <= kVersion, "{}: GGUF version {}, expected {} or {}", where,
          version, kOldestVersion, kVersion);
  const auto tensor_count = cursor.number<std::uint64_t>("the number of tensors");
  const auto key_count = cursor.number<std::uint64_t>("the number of keys");
  GgufHeader header;
  header.metadata = read_metadata(cursor, key_count);
  const std::uint64_t alignment = alignment_of(header.metadata, where);
  for (std::uint64_t i = 0; i < tensor_count; ++i) header.tensors.push_back(read_tensor(cursor, alignment));
  const std::uint64_t data_begin = round_up(cursor.at(), alignment);
  check_places(header.tensors, file.size() - std::min<std::uint64_t>(file.size(), data_begin), where);
  for (GgufTensor& tensor : header.tensors) tensor.offset += data_begin;
  return header;
}

std::string serialize_gguf_header(GgufHeader& header, std::string_view where) {
  const std::uint64_t alignment = alignment_of(header.metadata, where);
  std::string out(kMagic);
  put<std::uint32_t>(out, kVersion);
  put<std::uint64_t>(out, header.tensors.size());
  put<std::uint64_t>(out, header.metadata.entries().size());
  for (const auto& [key, value] : header.metadata.entries()) {
    put_string(out, key);
    put(out, static_cast<std::uint32_t>(value.index()));
    std::visit([&](const auto& v) { put_element<std::decay_t<decltype(v)>>(out, v); }, value);
  }
  std::set<std::string_view> names;
  std::uint64_t at = 0;
  for (GgufTensor& tensor : header.tensors) {
    require(
        !tensor.name.empty() && tensor.name.size() <= kGgufMaxNameBytes && names.insert(tensor.name).second,
        "{}: tensor {}: the name is taken, or not of 1 to {} bytes", where, printable(tensor.name),
        kGgufMaxNameBytes);
    require(tensor.shape.size() <= kGgufMaxDimensions,
            "{}: tensor {} has {} dimensions, GGUF has room for {}", where, printable(tensor.name),
            tensor.shape.size(), kGgufMaxDimensions);
    put_string(out, tensor.name);
    put(out, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size)
      put(out, static_cast<std::uint64_t>(*size));
    put(out, tensor.type->number);
    put(out, at);
    tensor.offset = at;
    tensor.bytes = gguf_tensor_bytes(tensor.shape, *tensor.type);
    at = round_up(at + tensor.bytes, alignment);
  }
  out.resize(round_up(out.size(), alignment), '\0');
  for (GgufTensor& tensor : header.tensors) tensor.offset += out.size();
  return out;
}

}  // namespace fathom
