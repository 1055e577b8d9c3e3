#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"
#include "train/corpus.h"
#include "train/fim.h"
#include "train/survey.h"

namespace fathom {

/// How documents become tokens.
struct TokenRecipe {
  std::optional<Tokenizer> tokenizer;  // nothing: texts alone are asked for
  std::optional<FimTokens> fim;        // nothing: no document is rearranged
  double fim_rate = 0;
  std::uint64_t seed = 0;
  double held_out = 0;                 // part of the documents, or of each document's bytes
  std::vector<bool> held_out_by_tail;  // by source
};

/// Whether a whole document of this hash is held out.
bool is_held_out(std::uint64_t hash, double fraction);

/// Where the held-out end of a document begins: 0 for a whole one, its size for one to train on alone.
/// @param size  of the document
std::uint64_t held_out_begin(const TokenRecipe& recipe, std::size_t source, const SurveyRecord& surveyed);

/// A block's records as tokens.
struct TokenizedBlock {
  /// A piece of a document for one split, all of it or the next part of a long one.
  struct Piece {
    std::size_t begin = 0;  // in `ids`
    std::size_t end = 0;
    std::uint64_t text_bytes = 0;
    bool held_out = false;
    bool closes = false;  // the document ends with it
  };
  struct Record {
    std::size_t pieces_end = 0;  // its pieces are those before, from the record before on
    DocumentFates::Fate fate = DocumentFates::Fate::keep;
    bool repaired = false;
    bool rearranged = false;
    bool ends = true;  // false: a long text goes on in the next block
  };
  std::size_t source = 0;
  CorpusPlace place;  // of the first record
  std::vector<std::int32_t> ids;
  std::vector<Piece> pieces;
  std::vector<Record> records;
  std::uint64_t bytes_read = 0;
  std::uint64_t text_bytes = 0;
};

/// A block with what is known of its records.
struct PlannedBlock {
  CorpusBlock block;
  std::vector<SurveyRecord> surveyed;
  std::vector<DocumentFates::Fate> fates;
};

/// Tokenises what stays of a block. Each document stands between BOS and EOS where the tokenizer has them. A
/// document to be rearranged is `<begin> prefix <hole> suffix <end> middle` between them: the technical
/// report's prefix-suffix-middle form (section 4.1). Held-out text and texts above `kLongText` are not
/// rearranged.
/// Throws `Error` naming the file when a record is not the one that was surveyed.
TokenizedBlock tokenize_block(const TokenRecipe& recipe, const Corpus& corpus, const PlannedBlock& planned);

/// What a tokenizer may learn from of a block: the training part of each document that stays.
/// @param share  of the documents, chosen by their hashes
std::vector<std::string> training_texts(const TokenRecipe& recipe, const Corpus& corpus,
                                        const PlannedBlock& planned, double share);

/// Appends the ids of a text of any length, a few MiB at a time so that a long one does not need much memory.
/// Cuts lie after line breaks where there are any; DeepSeek's tokenizer cuts words there too.
void append_ids(const Tokenizer& tokenizer, std::string_view text, std::vector<std::int32_t>& ids);

}  // namespace fathom
