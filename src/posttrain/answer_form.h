#pragma once

#include <cstdint>
#include <string_view>

namespace fathom {

enum class ThinkBlock : std::uint8_t { required, optional };

/// Whether an answer has the form `<think>...</think>` and then some text: one block, which is the first
/// thing in it, with something inside. Where the block is optional, a text without any tag has the form, too.
bool has_think_form(std::string_view answer, ThinkBlock block);

/// Part of the words of an answer that are of the script that most words of the prompt are of: a stand-in for
/// the share of words of the target language (DeepSeek-R1, section 2.3.2). A word is a run of letters of one
/// script; each Han character or kana is one. 1 where either has no words.
double language_consistency(std::string_view prompt, std::string_view answer);

/// 0 up to `limit - margin` tokens, then falling in a line to -1 at `limit` and staying there: the soft
/// punishment of overlong answers of DAPO (arXiv 2503.14476, eq. 13). 0 where `limit` is 0: none.
double overlong_punishment(std::int64_t tokens, std::int64_t limit, std::int64_t margin);

}  // namespace fathom
