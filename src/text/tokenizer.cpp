#include "text/tokenizer.h"

#include <mutex>
#include <utility>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/chat_format.h"
#include "text/in_quotes.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_spec.h"
#include "text/utf8.h"
#include "text/vocabulary.h"
#include "text/word_cache.h"

namespace fathom {
namespace {

// What one thread needs while it encodes.
struct Scratch {
  RegexScratch regex;
  Bpe::Scratch bpe;
  WordCache cache;
  std::vector<AddedTokenMatcher::Piece> pieces;
  std::vector<AddedTokenMatcher::Piece> normalized_pieces;
};

// Scratches that no thread uses now. They outlive a call because the word cache is worth keeping.
class ScratchPool {
 public:
  std::unique_ptr<Scratch> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }
  void give_back(std::unique_ptr<Scratch> scratch) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

std::vector<AddedToken> matched_tokens(const TokenizerSpec& spec, bool normalized) {
  std::vector<AddedToken> tokens;
  for (const bool special : {true, false}) {  // the library's order, which decides among equal contents
    for (AddedToken token : spec.added_tokens) {
      if (token.special != special || token.normalized != normalized) continue;
      require(!normalized || normalize(token.content, spec.normalizers) == token.content,
              "{}: added token {} is not in the normal form that the file's normalizer makes; not supported",
              spec.name, in_quotes(token.content));
      tokens.push_back(std::move(token));
    }
  }
  return tokens;
}

}  // namespace

struct Tokenizer::State {
  explicit State(const TokenizerSpec& spec)
      : name(spec.name),
        normalizers(spec.normalizers),
        vocabulary(spec.tokens),
        plain_added(matched_tokens(spec, false)),
        normalized_added(matched_tokens(spec, true)),
        pre_tokenizer(spec.pre_tokenizer, spec.name),
        bpe(spec, vocabulary),
        special(spec.tokens.size(), false),
        chat{spec.name, spec.chat_template, spec.tool_chat_template, {}} {
    for (const AddedToken& token : spec.added_tokens) {
      require(vocabulary.find_spelling(token.content) == token.id, "{}: added token {} is not token {}", name,
              in_quotes(token.content), token.id);
      special[static_cast<std::size_t>(token.id)] = token.special;
    }
    const auto id_of = [&](const std::string& token, std::string_view role) {
      const auto id = vocabulary.find_spelling(token);
      require(id.has_value(), "{}: the {} {} is not in the vocabulary", name, role, in_quotes(token));
      return *id;
    };
    for (const std::string& token : spec.template_prefix) prefix.push_back(id_of(token, "template's token"));
    for (const std::string& token : spec.template_suffix) suffix.push_back(id_of(token, "template's token"));
    if (spec.bos_token) bos = id_of(*spec.bos_token, "bos_token");
    if (spec.eos_token) eos = id_of(*spec.eos_token, "eos_token");
    if (spec.bos_token) chat.special_tokens.emplace_back("bos_token", *spec.bos_token);
    if (spec.eos_token) chat.special_tokens.emplace_back("eos_token", *spec.eos_token);
    chat.special_tokens.insert(chat.special_tokens.end(), spec.named_tokens.begin(), spec.named_tokens.end());
  }

  void require_id(std::int64_t id) const {
    require(vocabulary.contains(id), "{}: there is no token {}; ids go from 0 to {}", name, id,
            vocabulary.size() - 1);
  }

  std::string name;
  std::vector<UnicodeNormalForm> normalizers;
  Vocabulary vocabulary;
  AddedTokenMatcher plain_added;       // sought in the text as it is
  AddedTokenMatcher normalized_added;  // sought in what normalisation makes of the text between those
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  std::vector<bool> special;
  std::vector<std::int32_t> prefix;
  std::vector<std::int32_t> suffix;
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> eos;
  ChatSource chat;
  mutable ScratchPool scratches;
};

namespace {

// Turns words into tokens, through the cache.
class WordEncoder final : public PreTokenizer::Sink {
 public:
  WordEncoder(const Bpe& bpe, Scratch& scratch, std::vector<std::int32_t>& ids)
      : bpe_(bpe), scratch_(scratch), ids_(ids) {}

  void word(std::string_view bytes) override {
    const auto known = scratch_.cache.find(bytes);
    if (!known.empty()) {
      ids_.insert(ids_.end(), known.begin(), known.end());
      return;
    }
    const std::size_t before = ids_.size();
    bpe_.encode(bytes, ids_, scratch_.bpe);
    scratch_.cache.keep(bytes, std::span(ids_).subspan(before));
  }

 private:
  const Bpe& bpe_;
  Scratch& scratch_;
  std::vector<std::int32_t>& ids_;
};

}  // namespace

Tokenizer::Tokenizer(const TokenizerSpec& spec) : state_(std::make_shared<const State>(spec)) {}

Tokenizer Tokenizer::load(const std::filesystem::path& folder_or_file) {
  return Tokenizer(read_tokenizer_spec(folder_or_file));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool add_special) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    append_as_utf8(text, repaired);
    text = repaired;
  }
  std::unique_ptr<Scratch> scratch = state_->scratches.take();
  scratch->regex.begin_text(text.size());
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  if (add_special) ids = state_->prefix;
  WordEncoder words(state_->bpe, *scratch, ids);
  scratch->pieces.clear();
  state_->plain_added.split(text, scratch->regex, scratch->pieces);
  for (const AddedTokenMatcher::Piece& piece : scratch->pieces) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
      continue;
    }
    std::string normalized;
    if (!state_->normalizers.empty()) normalized = normalize(piece.text, state_->normalizers);
    scratch->normalized_pieces.clear();
    state_->normalized_added.split(state_->normalizers.empty() ? piece.text : std::string_view(normalized),
                                   scratch->regex, scratch->normalized_pieces);
    for (const AddedTokenMatcher::Piece& inner : scratch->normalized_pieces) {
      if (inner.id >= 0) {
        ids.push_back(inner.id);
      } else {
        state_->pre_tokenizer.split(inner.text, scratch->regex, words);
      }
    }
  }
  state_->scratches.give_back(std::move(scratch));
  if (add_special) ids.insert(ids.end(), state_->suffix.begin(), state_->suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const std::int32_t id : ids) {
    state_->require_id(id);
    if (skip_special && is_special(id)) continue;
    bytes += state_->vocabulary.bytes(id);
  }
  if (is_valid_utf8(bytes)) return bytes;
  std::string text;
  append_as_utf8(bytes, text);
  return text;
}

std::int64_t Tokenizer::vocab_size() const {
  return state_->vocabulary.size();
}

std::string_view Tokenizer::token_bytes(std::int64_t id) const {
  state_->require_id(id);
  return state_->vocabulary.bytes(id);
}

std::string_view Tokenizer::token_spelling(std::int64_t id) const {
  state_->require_id(id);
  return state_->vocabulary.spelling(id);
}

std::optional<std::int32_t> Tokenizer::id_of(std::string_view spelling) const {
  return state_->vocabulary.find_spelling(spelling);
}

bool Tokenizer::is_special(std::int64_t id) const {
  return id >= 0 && id < vocab_size() && state_->special[static_cast<std::size_t>(id)];
}

std::optional<std::int32_t> Tokenizer::bos() const {
  return state_->bos;
}

std::optional<std::int32_t> Tokenizer::eos() const {
  return state_->eos;
}

const std::string& Tokenizer::chat_template() const {
  return state_->chat.chat_template;
}

const ChatSource& Tokenizer::chat_source() const {
  return state_->chat;
}

std::string StreamDecoder::push(std::int32_t id) {
  const std::string_view bytes = tokenizer_.token_bytes(id);
  if (skip_special_ && tokenizer_.is_special(id)) return "";
  pending_ += bytes;
  std::string text;
  std::string_view left = pending_;
  while (!left.empty()) {
    const Utf8Unit unit = next_utf8_unit(left);
    if (unit.kind == Utf8Unit::Kind::kIncomplete) break;
    text += unit.kind == Utf8Unit::Kind::kCharacter ? left.substr(0, unit.length) : kReplacementCharacter;
    left.remove_prefix(unit.length);
  }
  pending_.erase(0, pending_.size() - left.size());
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  append_as_utf8(pending_, text);
  pending_.clear();
  return text;
}

}  // namespace fathom
