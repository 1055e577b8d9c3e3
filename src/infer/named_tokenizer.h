#pragma once

#include <filesystem>

#include "text/tokenizer.h"

namespace fathom {

/// The tokenizer of a folder, of the newest checkpoint of a training run, of a tokenizer.json or of a GGUF
/// file.
Tokenizer load_named_tokenizer(const std::filesystem::path& named);

}  // namespace fathom
