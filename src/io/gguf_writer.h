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
#include "io/safetensors_header.h"
#include "tensor/tensor.h"

namespace fathom {

/// Writes a GGUF file, or several parts, a piece of a tensor at a time; what the files will hold is said
/// first.
///
/// Nothing appears under a final name before `commit`; a writer destroyed earlier leaves nothing. Of several
/// parts the first, which readers open, gets its name last. Written in the order of `tensors`, one file is
/// open at a time.
class GgufWriter {
 public:
  /// @param path            the file; parts are named after it, `NAME-00001-of-00003.gguf`
  /// @param max_part_bytes  tensor data of one part, at most; a larger tensor gets a part of its own. 0: one
  /// file Throws `Error` naming the file when it cannot be made, and where a tensor cannot be stored so.
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
             const std::vector<StoredTensor>& tensors, std::uint64_t max_part_bytes = 0);

  /// Writes the next rows of a tensor, along its first dimension: all of them, or some and the rest later.
  /// They are of the type that is stored. Throws `Error` naming file and tensor when they do not fit there.
  void write(std::string_view name, const Tensor& rows);

  /// Throws `Error` naming a tensor of which rows are missing.
  void commit();

  /// The files' names, to be or as they are.
  [[nodiscard]] std::vector<std::filesystem::path> paths() const;

 private:
  struct Part {
    std::filesystem::path path;
    GgufHeader header;
    std::unique_ptr<AtomicFile> file;  // made when the first rows arrive
    std::size_t incomplete = 0;        // tensors
  };
  struct Place {
    std::size_t part;
    std::size_t index;
    std::uint64_t written = 0;  // bytes
  };

  AtomicFile& file_of(Part& part);
  static void seal(Part& part);

  std::vector<Part> parts_;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace fathom
