#include "text/grammar_threads.h"

#include <algorithm>

#include "base/error.h"
#include "text/hash.h"

namespace fathom {
namespace {

constexpr std::size_t kMaxStacks = 1U << 20U;
/// Ways in which one text may be read at once; JSON has one or two.
constexpr std::size_t kMaxThreads = 400;

std::uint64_t hash_entry(GrammarAutomaton::State state, std::uint32_t below) {
  return hash_word(std::uint64_t{state} << 32U | below);
}

}  // namespace

GrammarStacks::GrammarStacks() : entries_(2), index_(16) {}

std::uint32_t GrammarStacks::push(GrammarAutomaton::State state, std::uint32_t below) {
  const std::size_t mask = index_.size() - 1;
  std::size_t at = hash_entry(state, below) & mask;
  for (; index_[at] != 0; at = (at + 1) & mask) {
    const Entry& entry = entries_[index_[at]];
    if (entry.state == state && entry.below == below) return index_[at];
  }
  require(entries_.size() < kMaxStacks, "the text is nested too deeply for its grammar");
  const auto stack = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back({state, below});
  index_[at] = stack;
  if (entries_.size() * 2 > index_.size()) grow();
  return stack;
}

void GrammarStacks::grow() {
  index_.assign(index_.size() * 2, 0);
  const std::size_t mask = index_.size() - 1;
  for (std::uint32_t stack = 2; stack < entries_.size(); ++stack) {
    std::size_t at = hash_entry(entries_[stack].state, entries_[stack].below) & mask;
    while (index_[at] != 0) at = (at + 1) & mask;
    index_[at] = stack;
  }
}

void GrammarStepper::add(GrammarThread thread, GrammarThreads& threads) {
  if (automaton_.is_plain(thread.state)) {
    if (std::ranges::find(threads.list, thread) == threads.list.end()) threads.list.push_back(thread);
    return;
  }
  met_.assign(1, thread);
  const auto meet = [&](GrammarThread one) {
    if (std::ranges::find(met_, one) == met_.end()) met_.push_back(one);
  };
  for (std::size_t i = 0; i < met_.size(); ++i) {
    require(met_.size() + threads.list.size() <= kMaxThreads,
            "the grammar can read the text in more than {} ways at once: make its rules tell earlier which "
            "one it is",
            kMaxThreads);
    const GrammarThread one = met_[i];
    if (automaton_.has_bytes(one.state) && std::ranges::find(threads.list, one) == threads.list.end())
      threads.list.push_back(one);
    for (const GrammarAutomaton::Call& call : automaton_.calls(one.state)) {
      // Where nothing follows the call its end is the caller's: right recursion needs no stack.
      const bool is_last = automaton_.only_ends(call.after);
      meet({call.start, is_last ? one.stack : stacks_.push(call.after, one.stack)});
    }
    if (!automaton_.is_final(one.state)) continue;
    if (one.stack == GrammarStacks::kBottom) {
      threads.may_end = true;
    } else if (one.stack == GrammarStacks::kOpen) {
      threads.is_open = true;
    } else {
      meet({stacks_.top(one.stack).state, stacks_.top(one.stack).below});
    }
  }
}

void GrammarStepper::add_caller(std::uint32_t stack, GrammarThreads& threads) {
  if (stack == GrammarStacks::kBottom) {
    threads.may_end = true;
  } else if (stack == GrammarStacks::kOpen) {
    threads.is_open = true;
  } else {
    add({stacks_.top(stack).state, stacks_.top(stack).below}, threads);
  }
}

void GrammarStepper::step(std::span<const GrammarThread> from, std::uint8_t byte, GrammarThreads& to) {
  to.clear();
  for (const GrammarThread& thread : from) {
    const GrammarAutomaton::State next = automaton_.next(thread.state, byte);
    if (next != GrammarAutomaton::kNone) add({next, thread.stack}, to);
  }
}

}  // namespace fathom
