#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "text/token_grammar.h"
#include "text/token_trie.h"
#include "text/tokenizer.h"

namespace fathom {

/// What an answer is to look like, as somebody asked for it.
struct GrammarRequest {
  enum class Kind : std::uint8_t {
    kNone,        // like nothing in particular
    kGbnf,        // a text of the grammar `text` (text/gbnf.h)
    kJsonSchema,  // JSON that satisfies the schema `text` (text/json_schema.h)
    kJsonObject,  // a JSON object
  };
  Kind kind = Kind::kNone;
  std::string text;
  bool ignores_unenforceable = false;  // keywords of a schema

  bool operator==(const GrammarRequest&) const = default;
};

/// Makes grammars for one tokenizer, and keeps the last ones: whoever asks for an answer of some form asks
/// again. Any thread may use it.
class GrammarCompiler {
 public:
  /// @param end_of_text  ids that end an answer
  GrammarCompiler(Tokenizer tokenizer, std::vector<std::int64_t> end_of_text);

  /// Null where nothing is asked for. Throws `Error` that says what is wrong with the grammar or schema, by
  /// line or JSON pointer.
  std::shared_ptr<const TokenGrammar> compile(const GrammarRequest& request);

 private:
  struct Kept {
    GrammarRequest request;
    std::shared_ptr<const TokenGrammar> grammar;
  };

  std::shared_ptr<const TokenGrammar> find(const GrammarRequest& request);

  Tokenizer tokenizer_;
  std::vector<std::int64_t> end_of_text_;
  std::mutex mutex_;
  // Guarded by it.
  std::shared_ptr<const TokenTrie> trie_;  // made when it is first needed
  std::list<Kept> kept_;                   // the last one used first
};

}  // namespace fathom
