#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/regex.h"
#include "text/tokenizer_spec.h"

namespace fathom {

/// Cuts text into the words that BPE works on, by steps that each cut the pieces of the one before.
/// Immutable; threads share it.
class PreTokenizer {
 public:
  class Sink {
   public:
    virtual void word(std::string_view bytes) = 0;

   protected:
    ~Sink() = default;
  };

  /// @param where  names the steps in messages
  PreTokenizer(const std::vector<PreTokenizerStep>& steps, const std::string& where);

  /// Gives the words of `text` to `sink`, in order, none of them empty.
  /// @param text  valid UTF-8
  void split(std::string_view text, RegexScratch& scratch, Sink& sink) const {
    apply(0, text, scratch, sink);
  }

 private:
  struct Split {
    std::variant<Regex, std::string> pattern;  // or the literal text
    SplitBehavior behavior;
    bool invert;
  };
  using Step = std::variant<Split, PrefixSpaceStep>;

  // Runs the steps from `step` on over one piece.
  void apply(std::size_t step, std::string_view piece, RegexScratch& scratch, Sink& sink) const;
  void apply_split(std::size_t step, std::string_view piece, RegexScratch& scratch, Sink& sink) const;

  std::vector<Step> steps_;
};

}  // namespace fathom
