#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

struct ChatSource;
struct TokenizerSpec;

/// Text to token ids and back: byte-level BPE as a Hugging Face `tokenizer.json` describes it, with the ids
/// of the `tokenizers` library. Immutable and cheap to copy; threads may share one.
class Tokenizer {
 public:
  /// From a folder with `tokenizer.json` (and `tokenizer_config.json`, if any), or from such a file.
  /// Throws `Error` naming the file and the key that is wrong or not supported.
  static Tokenizer load(const std::filesystem::path& folder_or_file);
  explicit Tokenizer(const TokenizerSpec& spec);

  /// The ids of `text`. Bytes that are not UTF-8 count as U+FFFD, one for each maximal invalid run, as if
  /// Python had decoded them with errors="replace" before the library saw them. Special tokens written in
  /// the text become their ids.
  /// @param add_special  put the tokens of the template around it (BOS for DeepSeek)
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, bool add_special = true) const;

  /// The text of `ids`; bytes that are not UTF-8 become U+FFFD.
  /// @param skip_special  leave special tokens (BOS, EOS, ...) out
  /// Throws `Error` naming an id that is not in the vocabulary.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool skip_special = true) const;

  /// Ids are 0 to `vocab_size()` - 1; few files have holes between them.
  [[nodiscard]] std::int64_t vocab_size() const;
  /// The bytes that a token stands for: any bytes, not always whole characters. Throws `Error` as `decode`.
  [[nodiscard]] std::string_view token_bytes(std::int64_t id) const;
  /// A token as files spell it ("Ġthe"). Throws `Error` as `decode`.
  [[nodiscard]] std::string_view token_spelling(std::int64_t id) const;
  /// The id of a token as files spell it; also of special tokens.
  [[nodiscard]] std::optional<std::int32_t> id_of(std::string_view spelling) const;
  [[nodiscard]] bool is_special(std::int64_t id) const;

  [[nodiscard]] std::optional<std::int32_t> bos() const;
  [[nodiscard]] std::optional<std::int32_t> eos() const;
  /// Jinja source; empty when the folder has none.
  [[nodiscard]] const std::string& chat_template() const;
  /// What a `ChatFormat` is made of.
  [[nodiscard]] const ChatSource& chat_source() const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

/// Decodes one token at a time and gives out whole characters only: bytes that begin one are held back until
/// it is whole, or shown to be wrong and replaced by U+FFFD. All outputs together are `Tokenizer::decode` of
/// all ids.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special = true)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

  /// The text that `id` completes; may be empty.
  std::string push(std::int32_t id);
  /// What is left at the end of the stream; the decoder is as new afterwards.
  std::string finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  std::string pending_;  // bytes that begin a character
};

}  // namespace fathom
