#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_spec.h"

namespace fathom {

/// The steps by which DeepSeek-V3's tokenizer cuts text into words.
std::vector<PreTokenizerStep> deepseek_pre_tokenizer();

struct BpeTrainerOptions {
  std::int64_t vocab_size = 4096;  // of everything: special tokens, the 256 bytes, merged tokens
  std::int64_t min_frequency = 2;  // a pair that is rarer is not merged
  std::string bos_token = "<｜begin▁of▁sentence｜>";
  std::string eos_token = "<｜end▁of▁sentence｜>";
  std::vector<std::string> more_special_tokens = {"<｜▁pad▁｜>"};
  bool add_bos = true;  // before each encoded text
  std::vector<PreTokenizerStep> pre_tokenizer = deepseek_pre_tokenizer();
};

/// Learns a byte-level BPE tokenizer: merges, again and again, the most frequent pair of neighbours in all
/// words, and of equally frequent ones the pair of lowest ids. Gives the tokenizer that the `tokenizers`
/// library's `BpeTrainer` gives with `initial_alphabet=ByteLevel.alphabet()`.
///
///     BpeTrainer trainer({.vocab_size = 4096});
///     for (const std::string& text : texts) trainer.add(text);
///     write_tokenizer(trainer.finish(), folder);
class BpeTrainer {
 public:
  /// Throws `UsageError` when the vocabulary cannot hold the special tokens and the bytes.
  explicit BpeTrainer(BpeTrainerOptions options);
  ~BpeTrainer();
  BpeTrainer(BpeTrainer&&) noexcept;
  BpeTrainer& operator=(BpeTrainer&&) noexcept;

  /// Counts the words of `text`. Bytes that are not UTF-8 count as U+FFFD. Words above 64 KiB are left out:
  /// no token comes from them.
  void add(std::string_view text);

  using Progress = std::function<void(std::int64_t tokens, std::int64_t vocab_size)>;
  /// Learns from all texts added. The vocabulary stays smaller than asked for where no pair is left that is
  /// frequent enough. Memory: some 30 bytes a byte of distinct words.
  /// @param progress  called now and then; may be empty
  [[nodiscard]] TokenizerSpec finish(const Progress& progress = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom
