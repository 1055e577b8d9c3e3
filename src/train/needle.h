#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/context.h"
#include "model/transformer.h"
#include "text/tokenizer.h"

namespace fathom {

/// Text to hide a needle in: for a seed, sentences without end, each with the white space before it.
using Haystack = std::function<std::function<std::string()>(std::uint64_t seed)>;

/// Made-up prose (train/retrieval_text.h).
Haystack generated_haystack();

/// The sentences of a text, from one that the seed chooses on, and around again at its end. Throws `Error`
/// when there is no text.
Haystack text_haystack(const std::string& text);

/// A needle in a haystack, as tokens: [BOS] hay ... needle ... hay question, and the answer to expect.
class NeedleText {
 public:
  /// @param length  tokens of the whole text with its answer, at most; whole sentences fill it, so it is
  /// short
  ///                of that by less than one. Throws `Error` when needle and question alone are longer.
  /// @param distractors  other facts of the same form among the hay
  NeedleText(const Tokenizer& tokenizer, const Haystack& haystack, std::int64_t length,
             std::int64_t distractors, std::uint64_t seed);

  /// The hay's sentences joined, with BOS where the tokenizer has one: what is the same at each depth.
  [[nodiscard]] const std::vector<std::int32_t>& hay() const { return hay_; }
  [[nodiscard]] const std::vector<std::int32_t>& needle() const { return needle_; }
  [[nodiscard]] const std::vector<std::int32_t>& question() const { return question_; }
  [[nodiscard]] const std::vector<std::int32_t>& answer() const { return answer_; }
  /// Where in `hay` the needle goes: the sentence boundary nearest to a depth from 0 (before all hay) to 1
  /// (behind it).
  [[nodiscard]] std::size_t place(double depth) const;

 private:
  std::vector<std::int32_t> hay_, needle_, question_, answer_;
  std::vector<std::size_t> boundaries_;  // in `hay_`, ascending
};

struct NeedleOptions {
  std::vector<std::int64_t> lengths;  // tokens of a text with its answer
  std::vector<double> depths;         // from 0 to 1
  std::int64_t trials = 1;            // texts at each length, each tried at every depth
  std::int64_t distractors = 0;
  std::uint64_t seed = 1;
};

struct NeedleCell {
  std::int64_t correct = 0;    // trials whose greedy continuation begins with the answer
  double log_probability = 0;  // of the whole answer, in nats, mean over trials
};

struct NeedleMap {
  NeedleOptions options;
  std::vector<std::vector<NeedleCell>> cells;  // [lengths tried to the end][depths]

  /// Part of the trials that were correct: of a cell, of a length, of all.
  [[nodiscard]] double accuracy(std::size_t length, std::size_t depth) const;
  [[nodiscard]] double accuracy(std::size_t length) const;
  [[nodiscard]] double accuracy() const;
};

/// Tries a model at every length and depth. The texts of a length share their hay: it enters the latent cache
/// once, and for each depth only what follows the needle's place is computed anew. Memory is one cache of the
/// longest length. The result does not depend on the number of threads.
/// Throws `Error` when a length exceeds `model.max_positions()`.
/// @param progress  where given, called with the part of the work that is done, from 0 to 1; false ends it,
/// and
///                  the map then has the lengths that were finished
NeedleMap find_needles(const Context& context, const Transformer& model, const Tokenizer& tokenizer,
                       const Haystack& haystack, const NeedleOptions& options,
                       const std::function<bool(double)>& progress = {});

/// Twice the tokens that a needle takes with its question and answer: a length from which on there is hay.
std::int64_t shortest_needle_text(const Tokenizer& tokenizer);

/// At most `count` lengths that double up to `longest`, ascending, none below `shortest` but `longest`
/// itself.
std::vector<std::int64_t> doubling_lengths(std::int64_t longest, std::int64_t shortest, std::int64_t count);

/// `count` depths at even distances from 0 to 1.
std::vector<double> even_depths(std::int64_t count);

}  // namespace fathom
