#pragma once

#include <filesystem>
#include <string>

#include "text/tokenizer_spec.h"

namespace fathom {

/// The two files that say what `spec` says, as the `tokenizers` and `transformers` libraries (and
/// `read_tokenizer_spec`) read them.
std::string tokenizer_json_text(const TokenizerSpec& spec);
std::string tokenizer_config_json_text(const TokenizerSpec& spec);

/// Writes `tokenizer.json` and `tokenizer_config.json` into `folder`, which is created.
void write_tokenizer(const TokenizerSpec& spec, const std::filesystem::path& folder);

}  // namespace fathom
