#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "io/safetensors_header.h"
#include "tensor/tensor.h"

namespace fathom {

/// A safetensors file, mapped and checked (io/safetensors_header.h). Tensors are views of the mapping, which
/// they keep alive; their pages are read on first touch and they must not be written to.
class SafetensorsFile {
 public:
  /// Throws `Error` naming the file, the tensor and what was expected.
  explicit SafetensorsFile(const std::filesystem::path& path);
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return file_->path(); }
  /// In the order of their bytes in the file.
  [[nodiscard]] const std::vector<TensorEntry>& entries() const { return header_.entries; }
  [[nodiscard]] const TensorMetadata& metadata() const { return header_.metadata; }
  /// Null when the file has no such tensor.
  [[nodiscard]] const TensorEntry* find(std::string_view name) const;
  [[nodiscard]] bool contains(std::string_view name) const { return find(name) != nullptr; }

  /// The tensor's values; a view, or a copy where the file does not align them to their type's size.
  /// Throws `Error` when the file has no such tensor or its type is not one of `DType`.
  [[nodiscard]] Tensor get(std::string_view name) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  SafetensorsHeader header_;
  std::map<std::string_view, const TensorEntry*> by_name_;
};

}  // namespace fathom
