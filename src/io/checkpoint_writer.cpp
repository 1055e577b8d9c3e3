#include "io/checkpoint_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "io/checkpoint_folder.h"

namespace fathom {
namespace {

std::uint64_t stored_bytes(const StoredTensor& tensor) {
  std::uint64_t bytes = 0;
  require(!__builtin_mul_overflow(element_count(tensor.shape), dtype_size(tensor.dtype), &bytes) &&
              bytes <= std::uint64_t{INT64_MAX},
          "tensor {}: shape {} is too large", printable(tensor.name), shape_text(tensor.shape));
  return bytes;
}

void remove_file(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove(path, error);
  require(!error, "{}: cannot remove what the new checkpoint supersedes: {}", path.string(), error.message());
}

/// Whether a file is named as a shard is: a digit stands wherever the pattern has a 0.
bool is_shard_name(std::string_view name) {
  constexpr std::string_view kPattern = "model-00000-of-00000.safetensors";
  return std::ranges::equal(name, kPattern, [](char given, char expected) {
    return expected == '0' ? given >= '0' && given <= '9' : given == expected;
  });
}

}  // namespace

CheckpointWriter::CheckpointWriter(const std::filesystem::path& folder,
                                   const std::vector<StoredTensor>& tensors, CheckpointOptions options)
    : folder_(folder), options_(std::move(options)) {
  std::uint64_t shard_bytes = 0;
  for (const StoredTensor& tensor : tensors) {
    std::vector<StoredTensor> group = {tensor};  // stays together: a matrix and its scales
    if (tensor.dtype == DType::f8_e4m3) {
      require(tensor.shape.size() == 2, "{}: tensor {} is {}, FP8 with block scales needs a matrix",
              folder.string(), printable(tensor.name), shape_text(tensor.shape));
      group.push_back({scale_name(tensor.name), block_scale_shape(tensor.shape), DType::f32});
    }
    std::uint64_t bytes = 0;
    for (const StoredTensor& member : group) bytes += stored_bytes(member);
    if (shards_.empty() || (shard_bytes > 0 && shard_bytes + bytes > options_.max_shard_bytes)) {
      shards_.emplace_back();
      shard_bytes = 0;
    }
    for (StoredTensor& member : group) {
      require(
          places_.try_emplace(member.name, Place{shards_.size() - 1, shards_.back().tensors.size()}).second,
          "{}: tensor {}: the name is taken", folder.string(), printable(member.name));
      shards_.back().tensors.push_back(std::move(member));
    }
    shard_bytes += bytes;
    total_bytes_ += bytes;
  }
  require(!shards_.empty(), "{}: a checkpoint without tensors", folder.string());
  for (std::size_t i = 0; i < shards_.size(); ++i)
    shards_[i].file_name = shards_.size() == 1
                               ? std::string(kSingleFileName)
                               : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards_.size());
  create_folders(folder);
  writer_of(0);  // a folder that cannot be written to is reported before any work is done
}

SafetensorsWriter& CheckpointWriter::writer_of(std::size_t shard) {
  Shard& s = shards_[shard];
  if (!s.writer)
    s.writer = std::make_unique<SafetensorsWriter>(folder_ / s.file_name, s.tensors, options_.metadata);
  return *s.writer;
}

const CheckpointWriter::Place& CheckpointWriter::place_of(std::string_view name) const {
  const auto found = places_.find(name);
  require(found != places_.end(), "{}: tensor {} is not part of the checkpoint", folder_.string(),
          printable(name));
  return found->second;
}

void CheckpointWriter::write(std::string_view name, const Tensor& values) {
  const Place place = place_of(name);
  const StoredTensor& target = shards_[place.shard].tensors[place.index];
  if (target.dtype != DType::f8_e4m3) {
    write_stored(name, values);
    return;
  }
  require(values.shape() == target.shape, "{}: tensor {} is {}, the checkpoint has room for {}",
          folder_.string(), printable(name), shape_text(values.shape()), shape_text(target.shape));
  BlockScaled quantised;
  try {
    quantised = quantize_blocks(values, options_.fp8_scales);
  } catch (const Error& error) {
    fail("{}: tensor {} cannot be stored as FP8: {}", folder_.string(), printable(name), error.what());
  }
  write(name, quantised);
}

void CheckpointWriter::write(std::string_view name, const BlockScaled& quantised) {
  write_stored(name, quantised.weight);
  write_stored(scale_name(name), quantised.weight_scale_inv);
}

void CheckpointWriter::write_stored(std::string_view name, const Tensor& values) {
  SafetensorsWriter& writer = writer_of(place_of(name).shard);
  writer.write(name, values);
  if (writer.complete()) writer.seal();
}

void CheckpointWriter::commit() {
  for (std::size_t i = 0; i < shards_.size(); ++i) writer_of(i).seal();  // each is there before any is named
  const std::filesystem::path index = folder_ / kIndexFileName;
  if (shards_.size() == 1) {
    shards_.front().writer->commit();
  } else {
    // An old index would give the new shards old meanings while they are renamed.
    remove_file(index);
    std::map<std::string, std::string> weight_map;
    for (const auto& [name, place] : places_) weight_map[name] = shards_[place.shard].file_name;
    const Json json = {{"metadata", {{"total_size", total_bytes_}}}, {"weight_map", weight_map}};
    for (const Shard& shard : shards_) shard.writer->commit();
    write_file_atomically(index, json.dump(2) + "\n");
  }
  remove_superseded();
}

void CheckpointWriter::remove_superseded() const {
  std::set<std::string> ours;
  for (const Shard& shard : shards_) ours.insert(shard.file_name);
  remove_file(folder_ / (shards_.size() == 1 ? kIndexFileName : kSingleFileName));
  std::vector<std::filesystem::path> superseded;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (!ours.contains(name) && is_shard_name(name)) superseded.push_back(entry.path());
  }
  for (const std::filesystem::path& path : superseded) remove_file(path);
}

}  // namespace fathom
