#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/thread_pool.h"
#include "io/gguf.h"
#include "model/gguf_save.h"
#include "model/load.h"

namespace fathom {

// A model in two files: GGUF with everything but the routed experts, and beside it a pack of these
// (model/expert_pack.h), which the first one names.

/// "model.experts" for "model.gguf".
std::filesystem::path expert_pack_path(const std::filesystem::path& gguf);

/// Called with bytes written of a file, and in all: of the pack, then of the rest.
using PackProgress = std::function<void(std::uint64_t written, std::uint64_t total)>;

/// Writes a model so, with matrices of `options.dtype`.
/// @param experts_as_stored  routed experts keep their type
/// @return the files written, the pack last
std::vector<std::filesystem::path> save_packed_model(ThreadPool& pool, const std::filesystem::path& path,
                                                     const LoadedModel& model, const TokenizerSpec* tokenizer,
                                                     const GgufSaveOptions& options, bool experts_as_stored);

/// The same from a GGUF file, every byte of metadata and tensors as it is.
/// @param model           that of `source`
/// @param max_part_bytes  as for `GgufWriter`
std::vector<std::filesystem::path> repack_model(ThreadPool& pool, const std::filesystem::path& path,
                                                const GgufFile& source, const LoadedModel& model,
                                                std::uint64_t max_part_bytes, const PackProgress& progress);

}  // namespace fathom
