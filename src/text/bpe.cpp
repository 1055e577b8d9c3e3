#include "text/bpe.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/hash.h"
#include "text/in_quotes.h"

namespace fathom {
namespace {

// Up to here a scan for the best pair beats a heap.
constexpr std::size_t kShortWord = 48;

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
}

}  // namespace

Bpe::Bpe(const TokenizerSpec& spec, const Vocabulary& vocabulary)
    : rules_(table_size_for(spec.merges.size())),
      fuse_unknown_(spec.fuse_unknown),
      ignore_merges_(spec.ignore_merges),
      vocabulary_(&vocabulary) {
  const auto find = [&](const std::string& token) -> std::optional<std::int32_t> {
    const auto id = vocabulary.find_spelling(token);
    return id && static_cast<std::size_t>(*id) < spec.model_tokens ? id : std::nullopt;
  };
  const auto id_of = [&](const std::string& token, std::string_view role) {
    const auto id = find(token);
    if (!id) fail("{}: {} {} is not in the vocabulary", spec.name, role, in_quotes(token));
    return *id;
  };
  for (int byte = 0; byte < 256; ++byte) {
    const std::string spelled = spell_bytes(std::string(1, static_cast<char>(byte)));
    byte_ids_[static_cast<std::size_t>(byte)] = find(spelled).value_or(-1);
  }
  if (spec.unknown_token) unknown_ = id_of(*spec.unknown_token, "model.unk_token");
  std::uint32_t rank = 0;
  for (const Merge& merge : spec.merges) {
    const std::int32_t left = id_of(merge.left, "model.merges: the token");
    const std::int32_t right = id_of(merge.right, "model.merges: the token");
    add_rule(left, right, rank++, id_of(merge.left + merge.right, "model.merges: the merged token"));
  }
  if (!ignore_merges_) return;
  whole_words_.assign(table_size_for(spec.model_tokens), -1);
  for (std::int32_t id = 0; static_cast<std::size_t>(id) < spec.model_tokens; ++id) {
    if (!vocabulary.contains(id) || !is_byte_spelling(vocabulary.spelling(id))) continue;
    std::size_t slot = hash_bytes(vocabulary.bytes(id)) & (whole_words_.size() - 1);
    while (whole_words_[slot] >= 0) slot = (slot + 1) & (whole_words_.size() - 1);
    whole_words_[slot] = id;
  }
}

// A pair given twice counts with its last rank, as in the `tokenizers` library.
void Bpe::add_rule(std::int32_t left, std::int32_t right, std::uint32_t rank, std::int32_t merged) {
  const std::uint64_t pair = pair_key(left, right);
  std::size_t slot = hash_word(pair) & (rules_.size() - 1);
  while (rules_[slot].pair != kFree && rules_[slot].pair != pair) slot = (slot + 1) & (rules_.size() - 1);
  rules_[slot] = {pair, rank, merged};
}

const Bpe::Rule* Bpe::find_rule(std::int32_t left, std::int32_t right) const {
  const std::uint64_t pair = pair_key(left, right);
  for (std::size_t slot = hash_word(pair) & (rules_.size() - 1);; slot = (slot + 1) & (rules_.size() - 1)) {
    if (rules_[slot].pair == pair) return &rules_[slot];
    if (rules_[slot].pair == kFree) return nullptr;
  }
}

void Bpe::append_symbols(std::string_view word, std::vector<std::int32_t>& symbols) const {
  bool in_unknown = false;
  for (const char byte : word) {
    const std::int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
    if (id >= 0) {
      symbols.push_back(id);
    } else if (unknown_ && !(in_unknown && fuse_unknown_)) {
      symbols.push_back(*unknown_);
    }
    in_unknown = id < 0;
  }
}

void Bpe::encode(std::string_view word, std::vector<std::int32_t>& ids, Scratch& scratch) const {
  require(word.size() < std::size_t{std::numeric_limits<std::int32_t>::max()},
          "a text of {} bytes without a word boundary is too long to encode", word.size());
  if (ignore_merges_) {
    for (std::size_t slot = hash_bytes(word) & (whole_words_.size() - 1); whole_words_[slot] >= 0;
         slot = (slot + 1) & (whole_words_.size() - 1)) {
      if (vocabulary_->bytes(whole_words_[slot]) == word) return ids.push_back(whole_words_[slot]);
    }
  }
  scratch.ids.clear();
  append_symbols(word, scratch.ids);
  if (scratch.ids.size() <= kShortWord) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  ids.insert(ids.end(), scratch.ids.begin(), scratch.ids.end());
}

// scratch.rules[i] is the merge of symbols i and i + 1.
void Bpe::merge_short(Scratch& scratch) const {
  std::vector<std::int32_t>& ids = scratch.ids;
  std::vector<const Rule*>& rules = scratch.rules;
  rules.clear();
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) rules.push_back(find_rule(ids[i], ids[i + 1]));
  for (;;) {
    std::size_t best = 0;
    std::uint32_t best_rank = kNoRank;
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if (rules[i] != nullptr && rules[i]->rank < best_rank) {
        best = i;
        best_rank = rules[i]->rank;
      }
    }
    if (best_rank == kNoRank) return;
    ids[best] = rules[best]->merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    rules.erase(rules.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) rules[best - 1] = find_rule(ids[best - 1], ids[best]);
    if (best < rules.size()) rules[best] = find_rule(ids[best], ids[best + 1]);
  }
}

void Bpe::merge_long(Scratch& scratch) const {
  std::vector<Scratch::Symbol>& symbols = scratch.symbols;
  std::vector<Scratch::Candidate>& heap = scratch.heap;
  const auto count = static_cast<std::int32_t>(scratch.ids.size());
  symbols.clear();
  for (std::int32_t i = 0; i < count; ++i) {
    symbols.push_back({scratch.ids[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  }
  const auto symbol = [&](std::int32_t position) -> Scratch::Symbol& {
    return symbols[static_cast<std::size_t>(position)];
  };
  const auto later = [](const Scratch::Candidate& a, const Scratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto append = [&](std::int32_t position) {
    const std::int32_t next = symbol(position).next;
    if (next < 0) return false;
    const Rule* rule = find_rule(symbol(position).id, symbol(next).id);
    if (rule == nullptr) return false;
    heap.push_back({rule->rank, position, symbol(position).id, symbol(next).id, rule->merged});
    return true;
  };
  const auto push = [&](std::int32_t position) {
    if (append(position)) std::push_heap(heap.begin(), heap.end(), later);
  };
  heap.clear();
  for (std::int32_t i = 0; i < count; ++i) append(i);
  std::make_heap(heap.begin(), heap.end(), later);
  constexpr std::int32_t kGone = -1;  // the id of a symbol that its left neighbour took in
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = symbol(best.position);
    if (left.id != best.left || left.next < 0 || symbol(left.next).id != best.right) continue;
    Scratch::Symbol& right = symbol(left.next);
    left.id = best.merged;
    left.next = right.next;
    right.id = kGone;
    if (left.next >= 0) symbol(left.next).previous = best.position;
    if (left.previous >= 0) push(left.previous);
    push(best.position);
  }
  scratch.ids.clear();
  for (std::int32_t i = 0; i >= 0; i = symbol(i).next) scratch.ids.push_back(symbol(i).id);
}

}  // namespace fathom
