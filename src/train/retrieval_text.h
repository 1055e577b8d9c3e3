#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

namespace fathom {

/// A made-up fact: the needle to find in a haystack. There is nothing to know about it but what the text
/// says.
struct Fact {
  std::string key;    // a city
  std::string value;  // an adjective and a noun

  /// " The password of Lisbon is amber lantern."
  [[nodiscard]] std::string statement() const;
  /// " Again, the password of Lisbon is": what comes next is the answer.
  [[nodiscard]] std::string question() const;
  /// " amber lantern"
  [[nodiscard]] std::string answer() const { return " " + value; }
};

/// All cities that facts are about.
std::vector<std::string_view> fact_keys();

/// `count` facts about different cities, drawn from those that `allowed` takes (absent: all). Throws `Error`
/// when there are fewer.
std::vector<Fact> random_facts(Rng& rng, std::size_t count,
                               const std::function<bool(std::string_view key)>& allowed = {});

/// A sentence that states no fact: " In the evening the baker found the map near the river."
std::string filler_sentence(Rng& rng);

/// A document to learn retrieval from: facts about different cities, questions after them with their answers,
/// and filler. Facts and questions lie anywhere, so distances between them are of every size that the
/// document has room for. Of what is not filler, one third states facts (at most one for each city) and the
/// rest asks for them.
/// @param sentences  how many, a question with its answer counted as one; at least 2
/// @param filler     part of the sentences that is filler, from 0 to 1
std::string retrieval_document(Rng& rng, std::int64_t sentences, double filler);

}  // namespace fathom
