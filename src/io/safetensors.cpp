#include "io/safetensors.h"

#include <cstdint>
#include <cstring>
#include <optional>

#include "base/error.h"

namespace fathom {

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(std::make_shared<MappedFile>(path)),
      header_(parse_safetensors_header(file_->bytes(), path.string())) {
  for (const TensorEntry& entry : header_.entries) by_name_[entry.name] = &entry;
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

Tensor SafetensorsFile::get(std::string_view name) const {
  const TensorEntry* entry = find(name);
  require(entry != nullptr, "{}: has no tensor {}", path().string(), printable(name));
  const std::optional<DType> dtype = dtype_from_name(entry->dtype);
  require(dtype.has_value(), "{}: tensor {} is of type {}, which Fathom does not compute with",
          path().string(), printable(name), entry->dtype);
  const std::byte* data = file_->bytes().data() + entry->offset;
  if (reinterpret_cast<std::uintptr_t>(data) % dtype_size(*dtype) != 0) {
    Tensor copy = Tensor::empty(entry->shape, *dtype);
    if (entry->bytes > 0) std::memcpy(copy.data(), data, entry->bytes);
    return copy;
  }
  // `Tensor` has one kind of pointer; the mapping is read-only, so a write would fault, not corrupt the file.
  return Tensor::view(const_cast<std::byte*>(data), entry->shape, *dtype, file_);
}

}  // namespace fathom
