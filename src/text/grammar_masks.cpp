#include "text/grammar_masks.h"

#include <array>

#include "base/error.h"

namespace fathom {
namespace {

/// Steps of threads for one mask; a state inside a JSON string takes 400,000 on a vocabulary of 129,280.
constexpr std::size_t kMaxMaskWork = 20'000'000;

}  // namespace

void TrieWalker::count_work(std::size_t threads) {
  work_ += threads;
  require(work_ <= kMaxMaskWork,
          "the grammar is too ambiguous: which tokens may come next is too much work to find out");
}

StateMasks::StateMasks(const GrammarAutomaton& automaton, const TokenTrie& trie)
    : automaton_(automaton), trie_(trie), masks_(automaton.size()) {}

StateMasks::~StateMasks() {
  for (const auto& mask : masks_) delete mask.load();
}

const StateMask& StateMasks::of(GrammarAutomaton::State state) const {
  std::atomic<const StateMask*>& slot = masks_[state];
  if (const StateMask* known = slot.load(std::memory_order_acquire)) return *known;
  std::unique_ptr<const StateMask> made = make(state);
  const StateMask* expected = nullptr;
  // Where another thread was quicker its mask, which is the same, stays.
  if (slot.compare_exchange_strong(expected, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *expected;
}

std::unique_ptr<const StateMask> StateMasks::make(GrammarAutomaton::State state) const {
  GrammarStacks stacks;
  TrieWalker walker(trie_, automaton_, stacks);
  auto made = std::make_unique<StateMask>();
  std::array<std::vector<std::uint32_t>, 256> exits;
  walker.walk(1, trie_.size(), {{state, GrammarStacks::kOpen}},
              [&](std::uint32_t index, const GrammarThreads& threads) {
                const auto tokens = trie_.tokens(index);
                made->tokens.insert(made->tokens.end(), tokens.begin(), tokens.end());
                if (!threads.is_open) return;
                for (std::uint32_t child = index + 1; child < trie_.node(index).end;
                     child = trie_.node(child).end)
                  exits[trie_.node(child).byte].push_back(child);
              });
  for (std::size_t byte = 0; byte < exits.size(); ++byte)
    if (!exits[byte].empty())
      made->exits.push_back({static_cast<std::uint8_t>(byte), std::move(exits[byte])});
  // Where the list would be the longer one.
  if (made->tokens.size() * sizeof(made->tokens[0]) * 8 > trie_.vocab_size()) {
    made->mask = TokenMask(trie_.vocab_size());
    for (const std::int32_t token : made->tokens) made->mask.allow(static_cast<std::size_t>(token));
    made->tokens = {};
  }
  made->tokens.shrink_to_fit();
  return made;
}

}  // namespace fathom
