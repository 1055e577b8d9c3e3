#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "io/gguf_header.h"
#include "tensor/tensor.h"

namespace fathom {

/// Whether a path is named as GGUF files are: by its ending.
bool is_gguf_path(const std::filesystem::path& path);

/// The name of part `index` (from 0) of `count`: "model-00001-of-00003.gguf" for "model".
std::string gguf_part_name(std::string_view stem, std::int64_t index, std::int64_t count);

/// A GGUF file, or all parts of a split one, mapped and checked (io/gguf_header.h). Tensors are views of the
/// mapping, which they keep alive; their pages are read on first touch and they must not be written to.
class GgufFile {
 public:
  struct Part {
    std::filesystem::path path;
    std::uint64_t bytes = 0;  // of the file
    std::vector<GgufTensor> tensors;
  };

  /// @param path  the file; of a split one, any part (`-00001-of-00003.gguf`): the others lie beside it
  /// Throws `Error` naming the file, the key or tensor, and what was expected.
  explicit GgufFile(const std::filesystem::path& path);
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  /// The file, of a split one the first part.
  [[nodiscard]] const std::filesystem::path& path() const { return parts_.front().path; }
  [[nodiscard]] const std::vector<Part>& parts() const { return parts_; }
  /// Of the first part.
  [[nodiscard]] const GgufMetadata& metadata() const { return metadata_; }
  /// All tensors' names, sorted.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  /// Null when there is no such tensor.
  [[nodiscard]] const GgufTensor* find(std::string_view name) const;
  [[nodiscard]] bool contains(std::string_view name) const { return find(name) != nullptr; }

  /// A view of the tensor. Throws `Error` naming the file and the tensor when there is none, or when its type
  /// is not one of `DType`.
  [[nodiscard]] Tensor get(std::string_view name) const;
  /// The same, and checks the shape.
  /// @param meaning  what the sizes are, for the message: "n_routed_experts × hidden_size"
  [[nodiscard]] Tensor get(std::string_view name, const Shape& expected, std::string_view meaning = {}) const;

 private:
  struct Place {
    std::size_t part;
    std::size_t index;
  };

  /// Maps a part, and returns its metadata.
  GgufMetadata add_part(const std::filesystem::path& path);

  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<Part> parts_;
  GgufMetadata metadata_;
  std::map<std::string, Place, std::less<>> places_;
  std::vector<std::string> names_;
};

}  // namespace fathom
