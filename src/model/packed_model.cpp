#include "model/packed_model.h"

#include <algorithm>
#include <string>
#include <utility>

#include "io/gguf_writer.h"
#include "model/expert_pack.h"
#include "model/gguf_names.h"
#include "model/quant_recipe.h"

namespace fathom {
namespace {

/// What a GGUF file says of its pack.
std::vector<GgufMetadata::Entry> pack_metadata(const std::filesystem::path& pack, std::uint64_t id) {
  return {{std::string(kGgufPackKey), pack.filename().string()}, {std::string(kGgufPackIdKey), id}};
}

bool holds_routed_experts(const GgufTensor& tensor) {
  const TensorRole role = tensor_role(tensor.name, tensor.shape);
  return role == TensorRole::routed_expert || role == TensorRole::routed_expert_down;
}

/// A file's tensors but for the routed experts, with further metadata.
std::vector<std::filesystem::path> copy_without_experts(const GgufFile& source,
                                                        const std::filesystem::path& path,
                                                        const std::vector<GgufMetadata::Entry>& further,
                                                        std::uint64_t max_part_bytes,
                                                        const PackProgress& progress) {
  GgufMetadata metadata;
  for (const auto& [key, value] : source.metadata().entries())
    if (!key.starts_with("split.")) metadata.set(key, value);  // how many files it comes from does not matter
  for (const auto& [key, value] : further) metadata.set(key, value);
  std::vector<StoredTensor> layout;
  std::uint64_t total = 0;
  for (const GgufFile::Part& part : source.parts()) {
    for (const GgufTensor& tensor : part.tensors) {
      if (holds_routed_experts(tensor)) continue;
      layout.push_back({tensor.name, tensor.shape, source.get(tensor.name).dtype()});
      total += tensor.bytes;
    }
  }
  GgufWriter writer(path, metadata, layout, max_part_bytes);
  std::uint64_t written = 0;
  for (const StoredTensor& tensor : layout) {
    const Tensor values = source.get(tensor.name);
    writer.write(tensor.name, values);
    written += values.byte_size();
    if (progress) progress(written, total);
  }
  writer.commit();
  return writer.paths();
}

}  // namespace

std::filesystem::path expert_pack_path(const std::filesystem::path& gguf) {
  return std::filesystem::path(gguf).replace_extension(".experts");
}

std::vector<std::filesystem::path> save_packed_model(ThreadPool& pool, const std::filesystem::path& path,
                                                     const LoadedModel& model, const TokenizerSpec* tokenizer,
                                                     const GgufSaveOptions& options, bool experts_as_stored) {
  const std::filesystem::path pack = expert_pack_path(path);
  ExpertPackOptions of_pack{{}, options.progress};
  if (!experts_as_stored) of_pack.dtype = options.dtype;
  const std::uint64_t id = write_expert_pack(pool, pack, model.config, model.weights, of_pack);
  GgufSaveOptions rest = options;
  rest.without_experts = true;
  rest.further_metadata = pack_metadata(pack, id);
  std::vector<std::filesystem::path> paths =
      save_gguf(pool, path, model.config, model.weights, tokenizer, rest);
  paths.push_back(pack);
  return paths;
}

std::vector<std::filesystem::path> repack_model(ThreadPool& pool, const std::filesystem::path& path,
                                                const GgufFile& source, const LoadedModel& model,
                                                std::uint64_t max_part_bytes, const PackProgress& progress) {
  const std::filesystem::path pack = expert_pack_path(path);
  const std::uint64_t id = write_expert_pack(pool, pack, model.config, model.weights, {{}, progress});
  std::vector<std::filesystem::path> paths =
      copy_without_experts(source, path, pack_metadata(pack, id), max_part_bytes, progress);
  paths.push_back(pack);
  return paths;
}

}  // namespace fathom
