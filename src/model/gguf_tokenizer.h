#pragma once

#include <cstdint>

#include "io/gguf.h"
#include "text/tokenizer_spec.h"

namespace fathom {

/// The tokenizer of a GGUF file's metadata: byte-level BPE (`tokenizer.ggml.model` "gpt2") that cuts text as
/// `tokenizer.ggml.pre` names it: deepseek-llm (V2), deepseek-coder, deepseek-v3 (V3, R1, V3.1), kimi-k2
/// (also Moonlight), gpt-2. The ids of text are those of the model's original tokenizer. Where
/// `tokenizer.huggingface.json` is there, that counts.
///
/// Control tokens are special ones, user-defined tokens added ones. Unused tokens at the end, which fill a
/// vocabulary up to the model's, are left out; others never come of text. Throws `Error` naming the file and
/// the key.
TokenizerSpec gguf_tokenizer_spec(const GgufFile& file);

/// Adds the keys of a tokenizer to be written: a name in `tokenizer.ggml.pre` that llama.cpp knows, or, for a
/// tokenizer that cuts text in another way, "default" and the whole in `tokenizer.huggingface.json`.
/// @param vocab_size  of the model: ids beyond the tokenizer's become unused tokens
/// Throws `Error` when the tokenizer has more tokens than the model, or does what the format cannot say.
void add_gguf_tokenizer(const TokenizerSpec& spec, std::int64_t vocab_size, GgufMetadata& metadata);

}  // namespace fathom
