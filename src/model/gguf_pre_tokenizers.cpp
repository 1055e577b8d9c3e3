#include "model/gguf_pre_tokenizers.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <variant>

#include "text/bpe_trainer.h"

namespace fathom {
namespace {

using Steps = std::vector<PreTokenizerStep>;

/// The letters of Latin, Greek, Cyrillic and the other scripts with case, as DeepSeek-LLM's tokenizer.json
/// lists them.
const char* const kCasedLetters =
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-"
    "ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ"
    "Ὗ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝ"
    "ℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯ"
    "ꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠"
    "-𑣟𞤀-𞥃]+";

SplitStep isolated(std::string pattern) {
  return SplitStep{.pattern = std::move(pattern)};
}

/// DeepSeek-LLM's, which DeepSeek-V2 and V2-Lite have too.
Steps deepseek_llm_steps() {
  return {isolated("[\r\n]"),
          isolated(kCasedLetters),
          isolated("\\s?[!-/:-~！-／：-～‘-‟　-。]+"),
          isolated("\\s+$"),
          isolated("[一-龥ࠀ-一가-퟿]+"),
          isolated("\\p{N}")};
}

Steps deepseek_coder_steps() {
  return {isolated("[\r\n]"), isolated("\\s?\\p{L}+"), isolated("\\s?\\p{P}+"),
          isolated("[一-龥ࠀ-一가-퟿]+"), isolated("\\p{N}")};
}

/// Moonshot's pattern (tokenization_kimi.py of Kimi-K2 and Moonlight); where it intersects a class with "no
/// Han", a look-ahead says the same.
Steps kimi_steps() {
  const std::string upper = "(?:(?!\\p{Han})[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}])";
  const std::string lower = "(?:(?!\\p{Han})[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}])";
  const std::string before = "[^\\r\\n\\p{L}\\p{N}]?";
  const std::string contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
  return {isolated("\\p{Han}+|" + before + upper + "*" + lower + "+" + contraction + "|" + before + upper +
                   "+" + lower + "*" + contraction +
                   "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")};
}

Steps gpt2_steps() {
  return {isolated(kGpt2Pattern)};
}

struct Named {
  std::string_view name;
  Steps (*steps)();
};
constexpr std::array<Named, 5> kKnown = {{
    {"deepseek-v3", deepseek_pre_tokenizer},
    {"deepseek-llm", deepseek_llm_steps},
    {"deepseek-coder", deepseek_coder_steps},
    {"kimi-k2", kimi_steps},
    {"gpt-2", gpt2_steps},
}};

/// A pattern with line ends written as escapes: some files have the characters themselves.
std::string escaped(const std::string& pattern) {
  std::string text;
  for (const char c : pattern) text += c == '\r' ? "\\r" : c == '\n' ? "\\n" : std::string(1, c);
  return text;
}

bool is_same_step(const PreTokenizerStep& a, const PreTokenizerStep& b) {
  const auto* x = std::get_if<SplitStep>(&a);
  const auto* y = std::get_if<SplitStep>(&b);
  if (x == nullptr || y == nullptr) return x == y;  // two prefix spaces
  return escaped(x->pattern) == escaped(y->pattern) && x->literal == y->literal &&
         x->behavior == y->behavior && x->invert == y->invert;
}

}  // namespace

std::optional<Steps> gguf_pre_tokenizer(std::string_view name) {
  for (const Named& known : kKnown)
    if (known.name == name) return known.steps();
  return std::nullopt;
}

std::optional<std::string_view> gguf_pre_tokenizer_name(const Steps& steps) {
  for (const Named& known : kKnown)
    if (std::ranges::equal(steps, known.steps(), is_same_step)) return known.name;
  return std::nullopt;
}

std::string gguf_pre_tokenizer_names() {
  std::string names;
  for (const Named& known : kKnown) names += (names.empty() ? "" : ", ") + std::string(known.name);
  return names;
}

}  // namespace fathom
