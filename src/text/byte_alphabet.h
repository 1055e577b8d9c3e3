#pragma once

#include <string>
#include <string_view>

namespace fathom {

// Byte-level BPE spells each byte as one printable character (GPT-2's table): the printable ASCII and Latin-1
// bytes stand for themselves, the 68 others take U+0100, U+0101, ... in order, so that a space is written "Ġ"
// (U+0120) and a newline "Ċ". Only files use the spelling; in memory tokens are bytes.

/// The spelling of `bytes`.
std::string spell_bytes(std::string_view bytes);

/// The bytes that `spelled` stands for; `spelled` itself when one of its characters is not in the alphabet
/// (an added token such as "<｜User｜>", which stands for its own UTF-8).
std::string bytes_of_spelling(std::string_view spelled);

/// True when every character of `spelled` is in the alphabet.
bool is_byte_spelling(std::string_view spelled);

}  // namespace fathom
