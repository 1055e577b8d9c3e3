#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/gbnf.h"
#include "text/token_grammar.h"
#include "text/tokenizer.h"

namespace fathom::test {

/// A grammar's matcher over a tokenizer whose end-of-text token is its own.
inline std::shared_ptr<const TokenGrammar> token_grammar(const Grammar& grammar, const Tokenizer& tokenizer) {
  const std::vector<std::int64_t> end_of_text = {tokenizer.eos().value()};
  return std::make_shared<TokenGrammar>(grammar, tokenizer,
                                        std::make_shared<TokenTrie>(tokenizer, end_of_text), end_of_text);
}
inline std::shared_ptr<const TokenGrammar> gbnf_grammar(std::string_view text, const Tokenizer& tokenizer) {
  return token_grammar(parse_gbnf(text, "g"), tokenizer);
}

/// Whether `text` can begin a text of the grammar.
inline bool is_prefix(const std::shared_ptr<const TokenGrammar>& grammar, std::string_view text) {
  return GrammarMatcher(grammar).accept_bytes(text);
}

/// Whether `text` is one of the grammar.
inline bool matches(const std::shared_ptr<const TokenGrammar>& grammar, std::string_view text) {
  GrammarMatcher matcher(grammar);
  return matcher.accept_bytes(text) && matcher.may_end();
}

/// The tokens that `accept` takes, found by trying each.
inline TokenMask tried_mask(const GrammarMatcher& matcher, std::size_t vocab_size) {
  GrammarMatcher trial(matcher);
  TokenMask mask(vocab_size);
  for (std::size_t token = 0; token < vocab_size; ++token) {
    if (!trial.accept(static_cast<std::int32_t>(token))) continue;
    mask.allow(token);
    trial.rollback(1);
  }
  return mask;
}

}  // namespace fathom::test
