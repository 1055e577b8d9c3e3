#include "text/token_grammar.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

/// 16 KB each on a vocabulary of 129,280.
constexpr std::size_t kRememberedMasks = 8;

}  // namespace

TokenGrammar::TokenGrammar(const Grammar& grammar, Tokenizer tokenizer, std::shared_ptr<const TokenTrie> trie,
                           std::vector<std::int64_t> end_of_text)
    : tokenizer_(std::move(tokenizer)),
      trie_(std::move(trie)),
      end_of_text_(std::move(end_of_text)),
      automaton_(grammar),
      masks_(automaton_, *trie_) {
  std::erase_if(end_of_text_, [&](std::int64_t id) { return id < 0 || id >= tokenizer_.vocab_size(); });
}

/// Stacks, and who walks with them and refers to them.
struct GrammarMatcher::Workspace {
  Workspace(const TokenGrammar& grammar, const GrammarStacks& begin_with)
      : stacks(begin_with), walker(grammar.trie(), grammar.automaton(), stacks) {}

  GrammarStacks stacks;
  TrieWalker walker;
};

GrammarMatcher::GrammarMatcher(std::shared_ptr<const TokenGrammar> grammar)
    : grammar_(std::move(grammar)), work_(std::make_unique<Workspace>(*grammar_, GrammarStacks())) {
  GrammarThreads beginning;
  work_->walker.stepper().add({grammar_->automaton().start(), GrammarStacks::kBottom}, beginning);
  add_place(beginning);
}

GrammarMatcher::GrammarMatcher(const GrammarMatcher& other)
    : grammar_(other.grammar_),
      work_(std::make_unique<Workspace>(*grammar_, other.work_->stacks)),
      threads_(other.threads_),
      places_(other.places_) {}

GrammarMatcher::GrammarMatcher(GrammarMatcher&& other) noexcept = default;

GrammarMatcher::~GrammarMatcher() = default;

GrammarMatcher& GrammarMatcher::operator=(GrammarMatcher other) noexcept {
  std::swap(grammar_, other.grammar_);
  std::swap(work_, other.work_);
  std::swap(threads_, other.threads_);
  std::swap(places_, other.places_);
  std::swap(remembered_, other.remembered_);
  return *this;
}

std::span<const GrammarThread> GrammarMatcher::threads() const {
  const std::size_t begin = places_.size() > 1 ? places_[places_.size() - 2].end : 0;
  return std::span(threads_).subspan(begin);
}

void GrammarMatcher::add_place(const GrammarThreads& threads) {
  threads_.insert(threads_.end(), threads.list.begin(), threads.list.end());
  places_.push_back({threads_.size(), threads.may_end});
}

bool GrammarMatcher::accept(std::int32_t token) {
  if (std::ranges::find(grammar_->end_of_text(), token) != grammar_->end_of_text().end()) {
    if (!may_end()) return false;
    add_place({.list = {}, .may_end = true});
    return true;
  }
  if (!grammar_->trie().contains(token)) return false;
  return accept_bytes(grammar_->tokenizer().token_bytes(token));
}

bool GrammarMatcher::accept_bytes(std::string_view bytes) {
  const std::span<const GrammarThread> before = threads();
  GrammarThreads now{.list = {before.begin(), before.end()}, .may_end = may_end()};
  GrammarThreads next;
  for (const char byte : bytes) {
    work_->walker.stepper().step(now.list, static_cast<std::uint8_t>(byte), next);
    if (!next.is_possible()) return false;
    std::swap(now, next);
  }
  add_place(now);
  return true;
}

void GrammarMatcher::rollback(std::size_t tokens) {
  require(tokens <= accepted(), "{} tokens cannot be taken back: {} have been taken", tokens, accepted());
  places_.resize(places_.size() - tokens);
  threads_.resize(places_.back().end);
}

const TokenMask& GrammarMatcher::mask() const {
  Remembered& remembered = find_remembered();
  remembered.last_use = ++uses_;
  return remembered.mask;
}

GrammarMatcher::Remembered& GrammarMatcher::find_remembered() const {
  const std::span<const GrammarThread> now = threads();
  for (Remembered& one : remembered_)
    if (one.may_end == may_end() && std::ranges::equal(one.threads, now)) return one;
  if (remembered_.size() < kRememberedMasks) {
    remembered_.emplace_back().mask = TokenMask(grammar_->trie().vocab_size());
  } else {
    std::ranges::swap(*std::ranges::min_element(remembered_, {}, &Remembered::last_use), remembered_.back());
  }
  Remembered& made = remembered_.back();
  made.threads.clear();  // in case that what follows throws: then it is nobody's
  made.may_end = false;
  make_mask(made.mask);
  made.threads.assign(now.begin(), now.end());
  made.may_end = may_end();
  return made;
}

void GrammarMatcher::make_mask(TokenMask& mask) const {
  mask.clear();
  work_->walker.begin_mask();
  for (const GrammarThread& thread : threads()) add_tokens_of(thread, mask);
  if (!may_end()) return;
  for (const std::int64_t token : grammar_->end_of_text()) mask.allow(static_cast<std::size_t>(token));
}

void GrammarMatcher::add_tokens_of(const GrammarThread& thread, TokenMask& mask) const {
  const StateMask& own = grammar_->masks().of(thread.state);
  if (own.mask.size() > 0) mask.add(own.mask);
  for (const std::int32_t token : own.tokens) mask.allow(static_cast<std::size_t>(token));
  if (own.exits.empty() || thread.stack == GrammarStacks::kBottom) return;

  // Tokens that run over the end of this rule: its callers go on with the rest.
  GrammarThreads callers;
  work_->walker.stepper().add_caller(thread.stack, callers);
  const TokenTrie& trie = grammar_->trie();
  for (const StateMask::Exits& exits : own.exits)
    for (const std::uint32_t node : exits.nodes)
      work_->walker.walk(node, trie.node(node).end, callers.list,
                         [&](std::uint32_t index, const GrammarThreads&) {
                           for (const std::int32_t token : trie.tokens(index))
                             mask.allow(static_cast<std::size_t>(token));
                         });
}

}  // namespace fathom
