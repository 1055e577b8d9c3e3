#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors_writer.h"
#include "tensor/block_scaled.h"
#include "tensor/tensor.h"

namespace fathom {

struct CheckpointOptions {
  /// Tensor data of one file, at most; a larger tensor gets a file of its own.
  std::uint64_t max_shard_bytes = 5'000'000'000;
  /// The scales of tensors stored as F8_E4M3.
  ScaleFormat fp8_scales = ScaleFormat::f32;
  /// `__metadata__` of each file; `transformers` wants "format".
  TensorMetadata metadata = {{"format", "pt"}};
};

/// Writes the weights of a Hugging Face folder: `model.safetensors` where all fits into one file, else
/// `model-00001-of-00003.safetensors` and so on with `model.safetensors.index.json`.
///
/// A tensor stored as F8_E4M3 is a matrix, and is joined by NAME_scale_inv, its 128×128 block scales.
///
/// Nothing appears under a final name before `commit`; a writer destroyed earlier leaves nothing. `commit`
/// replaces an older checkpoint in the folder: the index is written last, and what it supersedes removed
/// after, so that an interruption leaves the old checkpoint or the new one; only where both are sharded may
/// it leave none (never a mixture).
///
/// Memory: one tensor's FP8 codes, or 384 KiB. Written in the order of `tensors`, one file is open at a time.
class CheckpointWriter {
 public:
  /// Makes the folder if need be. Throws `Error` when it cannot be written to, when a name is given twice, or
  /// when an F8_E4M3 tensor is not a matrix.
  CheckpointWriter(const std::filesystem::path& folder, const std::vector<StoredTensor>& tensors,
                   CheckpointOptions options = {});

  /// Writes one tensor, in any order, converting to the stored type as `SafetensorsWriter::write` does;
  /// values for F8_E4M3 are quantised.
  void write(std::string_view name, const Tensor& values);
  /// Writes FP8 codes and scales as they are.
  void write(std::string_view name, const BlockScaled& quantised);

  /// Throws `Error` naming a tensor that is missing.
  void commit();

 private:
  struct Shard {
    std::string file_name;
    std::vector<StoredTensor> tensors;
    std::unique_ptr<SafetensorsWriter> writer;  // made when the first tensor arrives
  };

  struct Place {
    std::size_t shard = 0;
    std::size_t index = 0;  // in the shard's tensors
  };

  [[nodiscard]] const Place& place_of(std::string_view name) const;
  SafetensorsWriter& writer_of(std::size_t shard);
  void write_stored(std::string_view name, const Tensor& values);
  void remove_superseded() const;

  std::filesystem::path folder_;
  CheckpointOptions options_;
  std::vector<Shard> shards_;
  std::map<std::string, Place, std::less<>> places_;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace fathom
