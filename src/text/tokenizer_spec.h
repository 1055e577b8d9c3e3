#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fathom {

// What a `tokenizer.json` and the `tokenizer_config.json` beside it say, checked and free of JSON.

/// What becomes of the text that a pattern matches (the names of the `tokenizers` library).
enum class SplitBehavior : std::uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous
};

/// Cuts text where a pattern matches.
struct SplitStep {
  std::string pattern;  // a regular expression, or the text itself when `literal`
  bool literal = false;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // matches and gaps change places
};

/// Puts a space before each piece that does not begin with one.
struct PrefixSpaceStep {};

using PreTokenizerStep = std::variant<SplitStep, PrefixSpaceStep>;

enum class UnicodeNormalForm : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool special = false;      // left out of decoded text on request
  bool normalized = false;   // sought in normalised text, after the others
  bool left_strip = false;   // takes the white space before it
  bool right_strip = false;  // takes the white space after it
  bool single_word = false;  // not inside a word
};

/// Two spelled tokens that become one; earlier merges go first.
struct Merge {
  std::string left;
  std::string right;
};

struct TokenizerSpec {
  std::string name;  // of the file, for messages
  std::vector<UnicodeNormalForm> normalizers;
  std::vector<PreTokenizerStep> pre_tokenizer;  // the mapping to bytes that ends it is implied
  std::vector<std::string> tokens;              // spelled, by id; empty: no such id
  std::size_t model_tokens = 0;                 // ids below are BPE's own, the others only added tokens
  std::vector<Merge> merges;
  std::vector<AddedToken> added_tokens;
  std::optional<std::string> unknown_token;  // for bytes that have no token
  bool fuse_unknown = false;                 // one for a run of them
  bool ignore_merges = false;                // a word that is a token is not taken apart
  std::vector<std::string> template_prefix;  // special tokens before and after a text
  std::vector<std::string> template_suffix;
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::string chat_template;       // Jinja; empty when there is none
  std::string tool_chat_template;  // Jinja of chats with tools; empty: the same
  /// Those beside BOS and EOS that templates know by name: pad_token, unk_token, sep_token, cls_token,
  /// mask_token.
  std::vector<std::pair<std::string, std::string>> named_tokens;
};

/// Reads a `tokenizer.json` (byte-level BPE). Whatever it asks for that would change ids and is not
/// supported is an error that names the key.
/// @param config_text  the text of `tokenizer_config.json`; nullopt when there is none
TokenizerSpec parse_tokenizer_spec(std::string_view tokenizer_text,
                                   const std::optional<std::string>& config_text, std::string_view name);

/// The same from a folder with `tokenizer.json`, or from such a file with the config beside it. A
/// `chat_template.jinja` there goes before the config's template, as does `tool_use.jinja` in
/// `additional_chat_templates`.
TokenizerSpec read_tokenizer_spec(const std::filesystem::path& folder_or_file);

/// The pattern of GPT-2, which `ByteLevel` with `use_regex` cuts by.
extern const char* const kGpt2Pattern;

}  // namespace fathom
