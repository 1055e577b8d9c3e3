#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/minhash.h"

namespace fathom {

// When two texts are much the same: the Jaccard similarity of their sets of shingles, estimated by MinHash
// (Broder 1997) and sought by locality-sensitive hashing (Indyk and Motwani 1998).

/// Words in a shingle.
inline constexpr std::size_t kShingleWords = 5;

/// The hashes of a text's shingles: every run of 5 words. A word is a run of ASCII letters and digits, in
/// lower case, or one character beyond ASCII; what lies between words does not count. A text of fewer words
/// is one shingle, a text without words has none.
///
/// A text may come in parts; then no shingle lies across two of them.
void append_shingles(std::string_view text, std::vector<std::uint32_t>& shingles);

/// The MinHash signature, 16 bits of each of the least images: two signatures agree at a place with
/// probability J + (1 − J) / 65,536, J the similarity.
using Signature = std::array<std::uint16_t, kernels::kMinHashes>;

/// Gathers the signature of a text that may come in parts.
class SignatureBuilder {
 public:
  SignatureBuilder() { least_.fill(UINT32_MAX); }
  void add(std::string_view part);
  /// Takes in what another has gathered.
  void merge(const SignatureBuilder& other);
  /// Of a text without words, what a new builder gives: no other text has it.
  [[nodiscard]] Signature signature() const;

 private:
  std::array<std::uint32_t, kernels::kMinHashes> least_;
  std::vector<std::uint32_t> shingles_;
};

/// The estimate of the similarity: the part of the places at which two signatures agree. Its standard
/// deviation is sqrt(J (1 − J) / 128), at most 0.044.
double similarity(const Signature& a, const Signature& b);

/// How a signature is cut into bands. Two texts are compared when some band of theirs is equal, which happens
/// with probability 1 − (1 − J^rows)^bands.
struct Bands {
  std::size_t bands = 0;
  std::size_t rows = 0;

  /// The probability of being compared at similarity `jaccard`.
  [[nodiscard]] double probability(double jaccard) const;
  /// A hash of one band of a signature.
  [[nodiscard]] std::uint64_t hash(const Signature& signature, std::size_t band) const;
};

/// The longest bands (fewest needless comparisons) that still find at least 95 of 100 pairs at `threshold`.
/// @param threshold  above 0, at most 1
Bands bands_for(double threshold);

}  // namespace fathom
