#include "text/grammar_compiler.h"

#include <algorithm>
#include <utility>

#include "text/gbnf.h"
#include "text/json_schema.h"

namespace fathom {
namespace {

/// With their masks they may take some MB each.
constexpr std::size_t kKeptGrammars = 16;

Grammar grammar_of(const GrammarRequest& request) {
  if (request.kind == GrammarRequest::Kind::kGbnf) return parse_gbnf(request.text, "grammar");
  if (request.kind == GrammarRequest::Kind::kJsonSchema)
    return json_schema_grammar(request.text, "schema",
                               {.ignores_unenforceable = request.ignores_unenforceable});
  return json_object_grammar();
}

}  // namespace

GrammarCompiler::GrammarCompiler(Tokenizer tokenizer, std::vector<std::int64_t> end_of_text)
    : tokenizer_(std::move(tokenizer)), end_of_text_(std::move(end_of_text)) {}

std::shared_ptr<const TokenGrammar> GrammarCompiler::compile(const GrammarRequest& request) {
  if (request.kind == GrammarRequest::Kind::kNone) return nullptr;
  std::shared_ptr<const TokenTrie> trie;
  {
    const std::scoped_lock lock(mutex_);
    if (auto known = find(request)) return known;
    if (trie_ == nullptr) trie_ = std::make_shared<const TokenTrie>(tokenizer_, end_of_text_);
    trie = trie_;
  }
  // Without the lock: it may take a while. Two that want the same at the same time both make it.
  auto made =
      std::make_shared<const TokenGrammar>(grammar_of(request), tokenizer_, std::move(trie), end_of_text_);
  const std::scoped_lock lock(mutex_);
  kept_.push_front({request, made});
  if (kept_.size() > kKeptGrammars) kept_.pop_back();
  return made;
}

std::shared_ptr<const TokenGrammar> GrammarCompiler::find(const GrammarRequest& request) {
  const auto found = std::ranges::find(kept_, request, &Kept::request);
  if (found == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found);
  return found->grammar;
}

}  // namespace fathom
