#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fathom {

/// What a thread needs to run regular expressions: one at a time, any number of them in turn.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(RegexScratch&&) noexcept;
  RegexScratch& operator=(RegexScratch&&) noexcept;

  /// Begins the processor time that a text of `bytes` may take; matching beyond it is an error, so that a
  /// hostile pattern cannot hang the program. Generous: some thousand times what real patterns need.
  void begin_text(std::size_t bytes);

 private:
  friend class Regex;
  struct State;
  std::unique_ptr<State> state_;
};

/// A regular expression in the dialect of `tokenizer.json` (Oniguruma, as the `tokenizers` library runs it),
/// compiled to machine code by PCRE2. Immutable: threads share it, each with a scratch of its own.
class Regex {
 public:
  /// @param pattern  see `text/regex_dialect.h` for what is understood
  /// @param where    names the pattern in messages
  Regex(std::string_view pattern, const std::string& where);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  /// The leftmost match that begins at or after byte `from`.
  /// @param text  valid UTF-8; `from` is the beginning of a character or the end
  /// Throws `Error` when the search needs unreasonable time or memory.
  [[nodiscard]] std::optional<Match> find(std::string_view text, std::size_t from,
                                          RegexScratch& scratch) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace fathom
