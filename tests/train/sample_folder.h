#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/file.h"
#include "train/data_manifest.h"
#include "train/sample_set.h"

namespace fathom::test {

/// A data folder of these samples. Its tokenizer.json, unless there is one, is a placeholder that only the
/// checksum reads.
inline DataManifest write_sample_folder(const std::filesystem::path& folder, std::int64_t vocab_size,
                                        const std::vector<SampleSet::Sample>& train,
                                        const std::vector<SampleSet::Sample>& held_out = {}) {
  const std::filesystem::path tokenizer = folder / "tokenizer.json";
  if (!std::filesystem::exists(tokenizer)) write_file_atomically(tokenizer, "{}");
  DataManifest manifest;
  manifest.vocab_size = vocab_size;
  manifest.tokenizer_hash = checksum(read_text_file(tokenizer, 1U << 30U));
  manifest.sources.push_back({.name = "samples"});
  SampleWriter writer(folder, manifest);
  for (const SampleSet::Sample& sample : train) writer.add(false, sample, 1);
  for (const SampleSet::Sample& sample : held_out) writer.add(true, sample, 1);
  writer.finish();
  save_data_manifest(manifest, folder);
  return load_data_manifest(folder);
}

}  // namespace fathom::test
