#include "text/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/hash.h"
#include "text/in_quotes.h"
#include "text/pre_tokenizer.h"
#include "text/utf8.h"

namespace fathom {
namespace {

constexpr std::size_t kMaxWordBytes = 64U << 10U;
constexpr std::int64_t kMaxVocabulary = std::int64_t{1} << 24;

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return hash_bytes(text); }
};
using WordCounts = std::unordered_map<std::string, std::int64_t, StringHash, std::equal_to<>>;

class WordCounter final : public PreTokenizer::Sink {
 public:
  explicit WordCounter(WordCounts& counts) : counts_(counts) {}
  void word(std::string_view bytes) override {
    if (bytes.size() > kMaxWordBytes) return;
    const auto known = counts_.find(bytes);
    if (known != counts_.end()) {
      ++known->second;
    } else {
      counts_.emplace(bytes, 1);
    }
  }

 private:
  WordCounts& counts_;
};

struct Pair {
  std::int32_t left = 0;
  std::int32_t right = 0;
  bool operator==(const Pair&) const = default;
  bool operator<(const Pair& other) const {
    return left != other.left ? left < other.left : right < other.right;
  }
};

struct PairHash {
  std::size_t operator()(const Pair& pair) const {
    return hash_word((std::uint64_t{static_cast<std::uint32_t>(pair.left)} << 32) |
                     static_cast<std::uint32_t>(pair.right));
  }
};

using WordIndex = std::uint32_t;

// A pair to be merged in `words`. Its count may have changed since it was queued.
struct Candidate {
  Pair pair;
  std::int64_t count = 0;
  std::vector<WordIndex> words;

  // The order of a queue whose top is the most frequent, then the lowest pair.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : other.pair < pair;
  }
};

// A heap whose top can be moved out.
class CandidateQueue {
 public:
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  void push(Candidate candidate) {
    heap_.push_back(std::move(candidate));
    std::push_heap(heap_.begin(), heap_.end());
  }
  Candidate pop() {
    std::pop_heap(heap_.begin(), heap_.end());
    Candidate top = std::move(heap_.back());
    heap_.pop_back();
    return top;
  }

 private:
  std::vector<Candidate> heap_;
};

// All distinct words as symbols, with the counts of neighbouring pairs kept up to date.
class Corpus {
 public:
  Corpus(const WordCounts& counts, const std::array<std::int32_t, 256>& byte_ids) {
    std::vector<const WordCounts::value_type*> sorted;  // so that nothing depends on the hash table's order
    sorted.reserve(counts.size());
    for (const auto& entry : counts) sorted.push_back(&entry);
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    require(sorted.size() < std::numeric_limits<WordIndex>::max(), "too many distinct words to train on");
    words_.reserve(sorted.size());
    for (const auto* entry : sorted) {
      words_.push_back({symbols_.size(), entry->first.size(), entry->second});
      for (const char byte : entry->first) symbols_.push_back(byte_ids[static_cast<unsigned char>(byte)]);
    }
  }

  // The pairs of the words as they are, each with the words it is in.
  void queue_all(CandidateQueue& queue) {
    for (std::size_t index = 0; index < words_.size(); ++index) {
      const Word& word = words_[index];
      const std::int32_t* symbols = symbols_.data() + word.begin;
      for (std::size_t i = 0; i + 1 < word.length; ++i) {
        change({symbols[i], symbols[i + 1]}, word.count, static_cast<WordIndex>(index));
      }
    }
    queue_fresh(queue);
  }

  [[nodiscard]] std::int64_t count(const Pair& pair) const { return pairs_.at(pair).count; }

  // Makes one symbol of `candidate.pair` wherever it stands and queues the pairs that this makes.
  void merge(const Candidate& candidate, std::int32_t merged, CandidateQueue& queue) {
    for (const WordIndex index : candidate.words) merge_word(index, candidate.pair, merged);
    queue_fresh(queue);
  }

 private:
  struct Word {
    std::size_t begin = 0;
    std::size_t length = 0;
    std::int64_t count = 0;
  };
  struct PairState {
    std::int64_t count = 0;
    std::int32_t fresh = -1;  // index into fresh_; -1: no new place since the last `queue_fresh`
  };
  struct Fresh {
    Pair pair;
    std::vector<WordIndex> words;
  };

  void change(const Pair& pair, std::int64_t by, WordIndex index) {
    PairState& state = pairs_[pair];
    state.count += by;
    if (by < 0) return;
    if (state.fresh < 0) {
      state.fresh = static_cast<std::int32_t>(fresh_.size());
      fresh_.push_back({pair, {}});
    }
    std::vector<WordIndex>& words = fresh_[static_cast<std::size_t>(state.fresh)].words;
    if (words.empty() || words.back() != index) words.push_back(index);
  }

  void queue_fresh(CandidateQueue& queue) {
    for (Fresh& fresh : fresh_) {
      PairState& state = pairs_[fresh.pair];
      state.fresh = -1;
      if (state.count > 0) queue.push({fresh.pair, state.count, std::move(fresh.words)});
    }
    fresh_.clear();
  }

  void merge_word(WordIndex index, const Pair& pair, std::int32_t merged) {
    Word& word = words_[index];
    std::int32_t* symbols = symbols_.data() + word.begin;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < word.length;) {
      const bool here = i + 1 < word.length && symbols[i] == pair.left && symbols[i + 1] == pair.right;
      if (!here) {
        symbols[kept++] = symbols[i++];
        continue;
      }
      if (kept > 0) {
        change({symbols[kept - 1], pair.left}, -word.count, index);
        change({symbols[kept - 1], merged}, word.count, index);
      }
      symbols[kept++] = merged;
      i += 2;
      if (i < word.length) {
        change({pair.right, symbols[i]}, -word.count, index);
        change({merged, symbols[i]}, word.count, index);
      }
    }
    word.length = kept;
  }

  std::vector<std::int32_t> symbols_;
  std::vector<Word> words_;
  std::unordered_map<Pair, PairState, PairHash> pairs_;
  std::vector<Fresh> fresh_;
};

}  // namespace

std::vector<PreTokenizerStep> deepseek_pre_tokenizer() {
  return {SplitStep{.pattern = R"(\p{N}{1,3})"}, SplitStep{.pattern = "[一-龥\u3040-ゟ゠-ヿ]+"},
          SplitStep{.pattern = R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)"
                               R"(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
                               R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}};
}

struct BpeTrainer::State {
  explicit State(BpeTrainerOptions given)
      : options(std::move(given)), pre_tokenizer(options.pre_tokenizer, "tokenizer training") {}

  BpeTrainerOptions options;
  PreTokenizer pre_tokenizer;
  RegexScratch scratch;
  WordCounts counts;
};

BpeTrainer::BpeTrainer(BpeTrainerOptions options) : state_(std::make_unique<State>(std::move(options))) {
  const BpeTrainerOptions& given = state_->options;
  const std::int64_t least = 2 + static_cast<std::int64_t>(given.more_special_tokens.size()) + 256;
  if (given.vocab_size < least || given.vocab_size > kMaxVocabulary)
    throw UsageError(fmt::format(
        "a vocabulary of {} tokens cannot be trained: at least {} (special tokens and bytes), at most {}",
        given.vocab_size, least, kMaxVocabulary));
}
BpeTrainer::~BpeTrainer() = default;
BpeTrainer::BpeTrainer(BpeTrainer&&) noexcept = default;
BpeTrainer& BpeTrainer::operator=(BpeTrainer&&) noexcept = default;

void BpeTrainer::add(std::string_view text) {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    append_as_utf8(text, repaired);
    text = repaired;
  }
  state_->scratch.begin_text(text.size());
  WordCounter counter(state_->counts);
  state_->pre_tokenizer.split(text, state_->scratch, counter);
}

TokenizerSpec BpeTrainer::finish(const Progress& progress) {
  const BpeTrainerOptions& options = state_->options;
  TokenizerSpec spec;
  spec.name = "trained tokenizer";
  spec.pre_tokenizer = options.pre_tokenizer;
  spec.bos_token = options.bos_token;
  spec.eos_token = options.eos_token;
  if (options.add_bos) spec.template_prefix = {options.bos_token};

  std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>> ids;
  const auto id_of = [&](const std::string& token) {  // a new one for a token not seen before
    const auto [known, fresh] = ids.try_emplace(token, static_cast<std::int32_t>(spec.tokens.size()));
    if (fresh) spec.tokens.push_back(token);
    return known->second;
  };
  std::vector<std::string> special = {options.bos_token, options.eos_token};
  special.insert(special.end(), options.more_special_tokens.begin(), options.more_special_tokens.end());
  for (const std::string& token : special) {
    require(!token.empty() && !ids.contains(token), "the special token {} is empty or given twice",
            in_quotes(token));
    spec.added_tokens.push_back({.id = id_of(token), .content = token, .special = true});
  }
  std::array<std::int32_t, 256> byte_ids{};
  std::vector<std::pair<std::string, int>> alphabet;  // in the order of its characters
  alphabet.reserve(256);
  for (int byte = 0; byte < 256; ++byte) {
    alphabet.emplace_back(spell_bytes(std::string(1, static_cast<char>(byte))), byte);
  }
  std::sort(alphabet.begin(), alphabet.end());
  for (const auto& [spelled, byte] : alphabet) byte_ids[static_cast<std::size_t>(byte)] = id_of(spelled);

  Corpus corpus(state_->counts, byte_ids);
  CandidateQueue queue;
  corpus.queue_all(queue);
  while (std::ssize(spec.tokens) < options.vocab_size && !queue.empty()) {
    Candidate best = queue.pop();
    const std::int64_t count = corpus.count(best.pair);
    if (best.count != count) {  // it stood too high
      best.count = count;
      queue.push(std::move(best));
      continue;
    }
    if (best.count < std::max<std::int64_t>(1, options.min_frequency)) break;
    const std::string& left = spec.tokens[static_cast<std::size_t>(best.pair.left)];
    const std::string& right = spec.tokens[static_cast<std::size_t>(best.pair.right)];
    spec.merges.push_back({left, right});
    corpus.merge(best, id_of(left + right), queue);
    if (progress && spec.tokens.size() % 64 == 0) progress(std::ssize(spec.tokens), options.vocab_size);
  }
  spec.model_tokens = spec.tokens.size();
  return spec;
}

}  // namespace fathom
