#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_spec.h"

namespace fathom {

/// The steps that `tokenizer.ggml.pre` names; nullopt for a name that is not known.
std::optional<std::vector<PreTokenizerStep>> gguf_pre_tokenizer(std::string_view name);

/// The name of those steps, where there is one.
std::optional<std::string_view> gguf_pre_tokenizer_name(const std::vector<PreTokenizerStep>& steps);

/// All names, for messages: "deepseek-llm, deepseek-coder, ...".
std::string gguf_pre_tokenizer_names();

}  // namespace fathom
