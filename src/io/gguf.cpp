#include "io/gguf.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"

namespace fathom {
namespace {

constexpr std::int64_t kMostParts = 99999;  // the names have five digits

/// What the name of a part says.
struct PartName {
  std::string stem;
  std::int64_t index;  // from 0
  std::int64_t count;
};

std::optional<PartName> parse_part_name(const std::string& name) {
  constexpr std::string_view kPattern = "-00000-of-00000.gguf";
  constexpr std::size_t kCountAt = 10;  // in the pattern
  if (name.size() <= kPattern.size()) return std::nullopt;
  const std::string_view end = std::string_view(name).substr(name.size() - kPattern.size());
  const bool fits = std::ranges::equal(end, kPattern, [](char given, char expected) {
    return expected == '0' ? given >= '0' && given <= '9' : given == expected;
  });
  if (!fits) return std::nullopt;
  const auto number = [&](std::size_t at) {
    std::int64_t value = 0;
    std::from_chars(end.data() + at, end.data() + at + 5, value);
    return value;
  };
  return PartName{name.substr(0, name.size() - kPattern.size()), number(1) - 1, number(kCountAt)};
}

/// An integer of the metadata; `fallback` where there is none.
std::int64_t integer_or(const GgufMetadata& metadata, std::string_view key, std::int64_t fallback,
                        const std::filesystem::path& path) {
  const GgufValue* value = metadata.find(key);
  if (value == nullptr) return fallback;
  const auto integer = integer_of(*value);
  require(integer.has_value(), "{}: {} is {}, expected an integer", path.string(), key,
          gguf_value_text(*value));
  return *integer;
}

}  // namespace

bool is_gguf_path(const std::filesystem::path& path) {
  return path.extension() == ".gguf";
}

std::string gguf_part_name(std::string_view stem, std::int64_t index, std::int64_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", stem, index + 1, count);
}

GgufFile::GgufFile(const std::filesystem::path& path) {
  GgufMetadata metadata = add_part(path);
  const std::int64_t count = integer_or(metadata, "split.count", 0, path);
  if (count > 1) {
    require(count <= kMostParts, "{}: split.count is {}, expected at most {}", path.string(), count,
            kMostParts);
    const auto name = parse_part_name(path.filename().string());
    require(name && name->count == count,
            "{}: is one of {} parts (split.count), so its name has to end in -00001-of-{:05}.gguf; give the "
            "parts "
            "back the names that they had",
            path.string(), count, count);
    files_.clear();
    parts_.clear();
    places_.clear();
    for (std::int64_t i = 0; i < count; ++i) {
      const std::filesystem::path part = path.parent_path() / gguf_part_name(name->stem, i, count);
      GgufMetadata own = add_part(part);
      require(integer_or(own, "split.no", -1, part) == i && integer_or(own, "split.count", 0, part) == count,
              "{}: split.no and split.count do not say that it is part {} of {}", part.string(), i, count);
      if (i == 0) metadata = std::move(own);
    }
    const std::int64_t tensors = integer_or(metadata, "split.tensors.count", -1, path);
    require(tensors < 0 || static_cast<std::size_t>(tensors) == places_.size(),
            "{}: its parts hold {} tensors together, split.tensors.count says {}", path.string(),
            places_.size(), tensors);
  }
  metadata_ = std::move(metadata);
  for (const auto& [name, place] : places_) names_.push_back(name);
}

GgufMetadata GgufFile::add_part(const std::filesystem::path& path) {
  auto file = std::make_shared<MappedFile>(path);
  GgufHeader header = parse_gguf_header(file->bytes(), path.string());
  for (std::size_t i = 0; i < header.tensors.size(); ++i) {
    const auto [place, is_new] = places_.try_emplace(header.tensors[i].name, Place{parts_.size(), i});
    if (!is_new)
      fail("{}: tensor {} is in {} too", path.string(), printable(place->first),
           parts_[place->second.part].path.string());
  }
  parts_.push_back({path, file->bytes().size(), std::move(header.tensors)});
  files_.push_back(std::move(file));
  return std::move(header.metadata);
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : &parts_[found->second.part].tensors[found->second.index];
}

Tensor GgufFile::get(std::string_view name) const {
  const auto found = places_.find(name);
  require(found != places_.end(), "{}: has no tensor {}", path().string(), printable(name));
  const Part& part = parts_[found->second.part];
  const GgufTensor& tensor = part.tensors[found->second.index];
  require(tensor.type->dtype.has_value(),
          "{}: tensor {} is of type {}, which Fathom does not compute with; quantise the model to another",
          part.path.string(), printable(name), tensor.type->name);
  const auto& file = files_[found->second.part];
  // `Tensor` has one kind of pointer; the mapping is read-only, so a write would fault, not corrupt the file.
  return Tensor::view(const_cast<std::byte*>(file->bytes().data() + tensor.offset), tensor.shape,
                      *tensor.type->dtype, file);
}

Tensor GgufFile::get(std::string_view name, const Shape& expected, std::string_view meaning) const {
  Tensor tensor = get(name);
  require(tensor.shape() == expected, "{}: tensor {} is {}, the model needs {}{}",
          parts_[places_.find(name)->second.part].path.string(), printable(name), shape_text(tensor.shape()),
          shape_text(expected), meaning.empty() ? "" : fmt::format(" ({})", meaning));
  return tensor;
}

}  // namespace fathom
