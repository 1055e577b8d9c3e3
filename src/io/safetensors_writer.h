#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "io/safetensors_header.h"
#include "tensor/tensor.h"

namespace fathom {

/// Writes one safetensors file, a tensor at a time, in any order; what the file will hold is said first. It
/// appears under its name whole or not at all (base/file.h).
class SafetensorsWriter {
 public:
  /// Throws `Error` naming the file when it cannot be made, or when two tensors share a name.
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<StoredTensor>& tensors,
                    TensorMetadata metadata = {{"format", "pt"}});

  /// Writes the values of one tensor. F32, BF16, F16 and types of blocks are converted to the stored type,
  /// rounding to nearest; other types must be what is stored. Throws `Error` naming file and tensor when it
  /// is not part of the file, was written before, has another shape or type, or holds a value too large for
  /// the stored type.
  void write(std::string_view name, const Tensor& values);

  /// Whether each tensor has been written.
  [[nodiscard]] bool complete() const { return missing_.empty(); }
  /// Closes the file, whole and durable, under its temporary name (`AtomicFile::seal`).
  void seal();
  /// Gives the file its name. Throws `Error` naming a tensor that is missing.
  void commit();
  [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }

 private:
  void write_converted(const TensorEntry& entry, const Tensor& values, DType stored);

  AtomicFile file_;
  std::map<std::string, TensorEntry, std::less<>> missing_;  // tensors not yet written
};

}  // namespace fathom
