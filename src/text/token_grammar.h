#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/grammar.h"
#include "text/grammar_automaton.h"
#include "text/grammar_masks.h"
#include "text/grammar_threads.h"
#include "text/token_mask.h"
#include "text/token_trie.h"

namespace fathom {

/// A grammar for the texts that a vocabulary's tokens make. Immutable but for masks that it keeps; threads
/// share it.
class TokenGrammar {
 public:
  /// @param end_of_text  ids that end a text
  /// Throws `Error` where the grammar cannot be followed: see `GrammarAutomaton`.
  TokenGrammar(const Grammar& grammar, Tokenizer tokenizer, std::shared_ptr<const TokenTrie> trie,
               std::vector<std::int64_t> end_of_text);

  [[nodiscard]] const GrammarAutomaton& automaton() const { return automaton_; }
  [[nodiscard]] const StateMasks& masks() const { return masks_; }
  [[nodiscard]] const TokenTrie& trie() const { return *trie_; }
  [[nodiscard]] const Tokenizer& tokenizer() const { return tokenizer_; }
  [[nodiscard]] const std::vector<std::int64_t>& end_of_text() const { return end_of_text_; }

 private:
  Tokenizer tokenizer_;
  std::shared_ptr<const TokenTrie> trie_;
  std::vector<std::int64_t> end_of_text_;
  GrammarAutomaton automaton_;
  StateMasks masks_;
};

/// Follows a text, token by token, that is to be one of the grammar's. One thread at a time may use it.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(std::shared_ptr<const TokenGrammar> grammar);
  /// A copy goes on from the same place on its own. It does not take along the masks that were made.
  GrammarMatcher(const GrammarMatcher& other);
  GrammarMatcher(GrammarMatcher&& other) noexcept;
  GrammarMatcher& operator=(GrammarMatcher other) noexcept;
  ~GrammarMatcher();

  /// Takes the next token. @return  false where the grammar does not allow it; nothing has changed then
  bool accept(std::int32_t token);
  /// Takes bytes, of any number of characters and parts of them, as if they were one token.
  bool accept_bytes(std::string_view bytes);
  /// Takes back the last tokens. @param tokens  at most as many as have been taken
  void rollback(std::size_t tokens);
  /// Tokens taken and not taken back.
  [[nodiscard]] std::size_t accepted() const { return places_.size() - 1; }

  /// What `accept` would take now; where the text may end that includes the ends of text. Stays as it is
  /// until the next call. Throws `Error` where it is too much work to find out, which takes a hostile
  /// grammar.
  const TokenMask& mask() const;

  /// Whether the text may end here.
  [[nodiscard]] bool may_end() const { return places_.back().may_end; }
  /// Whether nothing but its end may come.
  [[nodiscard]] bool must_end() const { return threads().empty(); }

 private:
  /// After a token: its threads are those of `threads_` from the place before up to `end`.
  struct Place {
    std::size_t end = 0;
    bool may_end = false;
  };
  /// A mask that has been made, as texts come to the same place again and again.
  struct Remembered {
    std::vector<GrammarThread> threads;
    bool may_end = false;
    TokenMask mask;
    std::uint64_t last_use = 0;
  };

  [[nodiscard]] std::span<const GrammarThread> threads() const;
  void add_place(const GrammarThreads& threads);
  Remembered& find_remembered() const;
  void make_mask(TokenMask& mask) const;
  void add_tokens_of(const GrammarThread& thread, TokenMask& mask) const;

  struct Workspace;

  std::shared_ptr<const TokenGrammar> grammar_;
  std::unique_ptr<Workspace> work_;
  std::vector<GrammarThread> threads_;  // of all places
  std::vector<Place> places_;           // the beginning, and after each token
  mutable std::vector<Remembered> remembered_;
  mutable std::uint64_t uses_ = 0;
};

}  // namespace fathom
