#include "io/checkpoint_folder.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace fathom {
namespace {

/// A shard's name comes from the index, which may be hostile: it must be a plain name in the same folder.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

/// tensor -> shard, as the index has it.
std::map<std::string, std::string> read_weight_map(const std::filesystem::path& index) {
  const Json json = read_json_file(index);
  const auto found = json.is_object() ? json.find("weight_map") : json.end();
  require(found != json.end() && found->is_object(), "{}: has no object \"weight_map\" (tensor to shard)",
          index.string());
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, shard] : found->items()) {
    require(shard.is_string() && is_plain_file_name(shard.get_ref<const std::string&>()),
            "{}: tensor {}: the shard {} is not the name of a file in the folder", index.string(),
            printable(tensor), printable(shard.dump()));
    shards[tensor] = shard.get<std::string>();
  }
  require(!shards.empty(), "{}: \"weight_map\" names no tensor", index.string());
  return shards;
}

}  // namespace

CheckpointFolder::CheckpointFolder(const std::filesystem::path& folder) : folder_(folder) {
  require(std::filesystem::is_directory(folder), "{}: no such folder", folder.string());
  const std::filesystem::path single = folder / kSingleFileName;
  const std::filesystem::path index = folder / kIndexFileName;
  if (std::filesystem::exists(single)) {
    const auto& file = files_.emplace_back(std::make_unique<SafetensorsFile>(single));
    for (const TensorEntry& entry : file->entries()) shard_of_[entry.name] = file.get();
  } else {
    require(std::filesystem::exists(index), "{}: holds neither {} nor {}", folder.string(), kSingleFileName,
            kIndexFileName);
    open_index(index);
  }
  for (const auto& [name, file] : shard_of_) names_.push_back(name);
  for (const auto& file : files_) metadata_.insert(file->metadata().begin(), file->metadata().end());
}

void CheckpointFolder::open_index(const std::filesystem::path& index) {
  const std::map<std::string, std::string> weight_map = read_weight_map(index);
  std::map<std::string, const SafetensorsFile*> shards;
  for (const auto& [tensor, shard] : weight_map) {
    const SafetensorsFile*& file = shards[shard];
    if (file == nullptr) {
      require(std::filesystem::exists(folder_ / shard),
              "{}: the shard is missing; {} expects tensor {} in it", (folder_ / shard).string(),
              kIndexFileName, printable(tensor));
      file = files_.emplace_back(std::make_unique<SafetensorsFile>(folder_ / shard)).get();
    }
    require(file->contains(tensor), "{}: has no tensor {}, which {} expects in it", file->path().string(),
            printable(tensor), kIndexFileName);
    shard_of_[tensor] = file;
  }
  for (const auto& [shard, file] : shards) {
    for (const TensorEntry& entry : file->entries()) {
      const auto listed = weight_map.find(entry.name);
      require(listed != weight_map.end(), "{}: holds tensor {}, which {} does not list",
              file->path().string(), printable(entry.name), kIndexFileName);
      require(listed->second == shard, "{}: holds tensor {}, which {} expects in {} alone",
              file->path().string(), printable(entry.name), kIndexFileName, listed->second);
    }
  }
}

const SafetensorsFile& CheckpointFolder::file_of(std::string_view name) const {
  const auto found = shard_of_.find(name);
  if (found == shard_of_.end()) {
    const std::string where = files_.size() == 1 ? files_.front()->path().string() : folder_.string();
    fail("{}: has no tensor {}", where, printable(name));
  }
  return *found->second;
}

const TensorEntry& CheckpointFolder::entry(std::string_view name) const {
  return *file_of(name).find(name);
}

Tensor CheckpointFolder::get(std::string_view name) const {
  return file_of(name).get(name);
}

Tensor CheckpointFolder::get(std::string_view name, const Shape& expected, std::string_view meaning) const {
  const SafetensorsFile& file = file_of(name);
  const Shape& shape = file.find(name)->shape;
  require(shape == expected, "{}: tensor {} is {}, config.json needs {}{}", file.path().string(),
          printable(name), shape_text(shape), shape_text(expected),
          meaning.empty() ? "" : fmt::format(" ({})", meaning));
  return file.get(name);
}

}  // namespace fathom
