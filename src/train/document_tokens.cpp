#include "train/document_tokens.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/rng.h"

namespace fathom {
namespace {

using Fate = DocumentFates::Fate;

/// Where a part of a long document lies, in bytes of the file from the document's beginning on.
struct Part {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t size = 0;  // of the document
  std::uint64_t cut = 0;   // the held-out end of the document begins about here
};

/// How much of a part's text is trained on.
std::size_t train_bytes(std::string_view text, const Part& part) {
  if (part.begin >= part.cut) return 0;
  if (part.end <= part.cut) return text.size();
  return cut_before(text, std::min(text.size(), static_cast<std::size_t>(part.cut - part.begin)));
}

/// One record that stays, as the passes after the survey see it.
struct KnownRecord {
  RecordText found;
  std::optional<Part> part;  // of a long text
  std::size_t cut = 0;       // of a whole one: where its held-out part begins
};

KnownRecord known_record(const TokenRecipe& recipe, const Corpus& corpus, const PlannedBlock& planned,
                         std::size_t i) {
  const CorpusBlock& block = planned.block;
  const std::size_t source = block.file->source;
  const SurveyRecord& surveyed = planned.surveyed[i];
  KnownRecord known{record_text(block, i, corpus.sources()[source]), std::nullopt, 0};
  const std::string& text = known.found.text;
  const std::uint64_t cut = held_out_begin(recipe, source, surveyed);
  bool same = true;
  if (block.is_open || block.offset > 0) {
    known.part = {block.offset, block.offset + block.records[i].size, surveyed.bytes, cut};
    same = block.is_open ? known.part->end <= surveyed.bytes : known.part->end == surveyed.bytes;
  } else {
    same = checksum(text) == surveyed.hash;
    known.cut =
        recipe.held_out_by_tail[source] ? tail_begin(text, recipe.held_out) : static_cast<std::size_t>(cut);
  }
  require(same, "{}: changed while it was being prepared: prepare again, into another folder",
          block.file->path.string());
  return known;
}

/// Tokenises the pieces of one block.
class BlockTokenizer {
 public:
  BlockTokenizer(const TokenRecipe& recipe, TokenizedBlock& out) : recipe_(recipe), out_(out) {}

  /// A whole document.
  /// @param cut  where the held-out part begins
  void add_whole(std::string_view text, std::size_t cut, std::uint64_t hash, TokenizedBlock::Record& record) {
    if (cut > 0) {
      const std::string_view train = text.substr(0, cut);
      begin_piece(false, true);
      const auto parts = recipe_.fim ? fim_parts(train, hash, recipe_.seed, recipe_.fim_rate) : std::nullopt;
      if (parts) {
        add_rearranged(*parts);
        record.rearranged = true;
      } else {
        append_ids(*recipe_.tokenizer, train, out_.ids);
      }
      end_piece(train.size(), true);
    }
    if (cut < text.size()) add_piece(text.substr(cut), true, true, true);
  }

  /// A part of a long document.
  void add_part(std::string_view text, const Part& part) {
    const std::size_t train = train_bytes(text, part);
    if (part.begin < part.cut) add_piece(text.substr(0, train), false, part.begin == 0, part.end >= part.cut);
    if (part.end > part.cut && train < text.size())
      add_piece(text.substr(train), true, part.begin <= part.cut, part.end >= part.size);
  }

 private:
  void add_piece(std::string_view text, bool held_out, bool opens, bool closes) {
    begin_piece(held_out, opens);
    append_ids(*recipe_.tokenizer, text, out_.ids);
    end_piece(text.size(), closes);
  }
  void begin_piece(bool held_out, bool opens) {
    TokenizedBlock::Piece piece;
    piece.begin = out_.ids.size();
    piece.held_out = held_out;
    out_.pieces.push_back(piece);
    if (opens && recipe_.tokenizer->bos()) out_.ids.push_back(*recipe_.tokenizer->bos());
  }
  void end_piece(std::size_t text_bytes, bool closes) {
    if (closes && recipe_.tokenizer->eos()) out_.ids.push_back(*recipe_.tokenizer->eos());
    out_.pieces.back().end = out_.ids.size();
    out_.pieces.back().text_bytes = text_bytes;
    out_.pieces.back().closes = closes;
  }
  void add_rearranged(const FimParts& parts) {
    out_.ids.push_back(recipe_.fim->begin);
    append_ids(*recipe_.tokenizer, parts.prefix, out_.ids);
    out_.ids.push_back(recipe_.fim->hole);
    append_ids(*recipe_.tokenizer, parts.suffix, out_.ids);
    out_.ids.push_back(recipe_.fim->end);
    append_ids(*recipe_.tokenizer, parts.middle, out_.ids);
  }

  const TokenRecipe& recipe_;
  TokenizedBlock& out_;
};

}  // namespace

bool is_held_out(std::uint64_t hash, double fraction) {
  // The hash as a number in [0, 1): its upper 53 bits.
  return std::ldexp(static_cast<double>(hash >> 11U), -53) < fraction;
}

std::uint64_t held_out_begin(const TokenRecipe& recipe, std::size_t source, const SurveyRecord& surveyed) {
  if (!recipe.held_out_by_tail[source])
    return is_held_out(surveyed.hash, recipe.held_out) ? 0 : surveyed.bytes;
  return surveyed.bytes - static_cast<std::uint64_t>(static_cast<double>(surveyed.bytes) * recipe.held_out);
}

void append_ids(const Tokenizer& tokenizer, std::string_view text, std::vector<std::int32_t>& ids) {
  while (!text.empty()) {
    std::size_t end = text.size();
    if (end > kLongText) end = std::max<std::size_t>(1, cut_before(text, kLongText));
    const std::vector<std::int32_t> more = tokenizer.encode(text.substr(0, end), /*add_special=*/false);
    ids.insert(ids.end(), more.begin(), more.end());
    text.remove_prefix(end);
  }
}

TokenizedBlock tokenize_block(const TokenRecipe& recipe, const Corpus& corpus, const PlannedBlock& planned) {
  const CorpusBlock& block = planned.block;
  TokenizedBlock out;
  out.source = block.file->source;
  out.place = block.place;
  out.bytes_read = block.bytes_read;
  BlockTokenizer tokens(recipe, out);
  for (std::size_t i = 0; i < block.records.size(); ++i) {
    TokenizedBlock::Record record;
    record.fate = planned.fates[i];
    record.ends = !block.is_open;
    if (record.fate == Fate::keep) {
      const KnownRecord known = known_record(recipe, corpus, planned, i);
      record.repaired = known.found.repaired;
      out.text_bytes += known.found.text.size();
      if (known.part) {
        tokens.add_part(known.found.text, *known.part);
      } else {
        tokens.add_whole(known.found.text, known.cut, planned.surveyed[i].hash, record);
      }
    }
    record.pieces_end = out.pieces.size();
    out.records.push_back(record);
  }
  return out;
}

std::vector<std::string> training_texts(const TokenRecipe& recipe, const Corpus& corpus,
                                        const PlannedBlock& planned, double share) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < planned.block.records.size(); ++i) {
    const std::uint64_t hash = planned.surveyed[i].hash;
    // Not the bits by which documents are held out.
    if (planned.fates[i] != Fate::keep || Rng(hash).uniform() >= share) continue;
    KnownRecord known = known_record(recipe, corpus, planned, i);
    std::string& text = known.found.text;
    text.resize(known.part ? train_bytes(text, *known.part) : known.cut);
    if (!text.empty()) texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace fathom
