#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"
#include "tensor/tensor.h"

namespace fathom {

/// Names of the files of a checkpoint folder, as Hugging Face has them.
inline constexpr std::string_view kSingleFileName = "model.safetensors";
inline constexpr std::string_view kIndexFileName = "model.safetensors.index.json";

/// The tensor that holds the block scales of an FP8 matrix.
inline std::string scale_name(std::string_view weight) {
  return std::string(weight) + "_scale_inv";
}

/// The weights of a Hugging Face folder: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` names. As with `transformers`, the single file wins where both exist.
/// Shards are mapped, never read whole.
class CheckpointFolder {
 public:
  /// Opens and checks everything that can be checked without reading weights: each shard, and that index and
  /// shards agree on every tensor. Throws `Error` naming the file, the tensor and what was expected.
  explicit CheckpointFolder(const std::filesystem::path& folder);

  /// All tensors' names, sorted.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] bool contains(std::string_view name) const { return shard_of_.contains(name); }
  [[nodiscard]] const TensorEntry& entry(std::string_view name) const;
  /// The file that holds the tensor.
  [[nodiscard]] const SafetensorsFile& file_of(std::string_view name) const;
  [[nodiscard]] const std::vector<std::unique_ptr<SafetensorsFile>>& files() const { return files_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  /// The `__metadata__` of all files together; where they differ, the first file's.
  [[nodiscard]] const TensorMetadata& metadata() const { return metadata_; }

  /// A view of the tensor (see `SafetensorsFile::get`). Throws `Error` when there is none.
  [[nodiscard]] Tensor get(std::string_view name) const;
  /// The same, and checks the shape.
  /// @param meaning  what the sizes are, for the message: "n_routed_experts × hidden_size"
  [[nodiscard]] Tensor get(std::string_view name, const Shape& expected, std::string_view meaning = {}) const;

 private:
  void open_index(const std::filesystem::path& index);

  std::filesystem::path folder_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const SafetensorsFile*, std::less<>> shard_of_;
  std::vector<std::string> names_;
  TensorMetadata metadata_;
};

}  // namespace fathom
