#include "train/near_duplicates.h"

#include <algorithm>
#include <cmath>

#include "base/checksum.h"
#include "base/error.h"
#include "text/utf8.h"

namespace fathom {
namespace {

constexpr double kFound = 0.95;
constexpr std::uint64_t kWordSeed = 0x9E3779B97F4A7C15U;
constexpr std::uint64_t kShingleSeed = 0xD6E8FEB86659FD93U;

/// Finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit in reaches every bit out.
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

/// A letter in lower case or a digit; 0 for any other ASCII character.
unsigned char word_character(unsigned char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<unsigned char>(c | 0x20U);
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : 0;
}

/// The latest words, and with each one more the shingle that it ends.
class ShingleWindow {
 public:
  explicit ShingleWindow(std::vector<std::uint32_t>& shingles) : shingles_(shingles) {}

  void add(std::uint64_t word) {
    window_[words_++ % kShingleWords] = word;
    if (words_ >= kShingleWords) end_shingle(words_ - kShingleWords, kShingleWords);
  }
  void finish() {
    if (words_ > 0 && words_ < kShingleWords) end_shingle(0, words_);
  }

 private:
  void end_shingle(std::size_t first, std::size_t count) {
    std::uint64_t hash = kShingleSeed;
    for (std::size_t i = first; i < first + count; ++i)
      hash = (hash ^ window_[i % kShingleWords]) * 0x9FB21C651E98DF25U + (hash >> 29U);
    shingles_.push_back(static_cast<std::uint32_t>(mixed(hash) >> 32U));
  }

  std::vector<std::uint32_t>& shingles_;
  std::array<std::uint64_t, kShingleWords> window_{};
  std::size_t words_ = 0;
};

}  // namespace

void append_shingles(std::string_view text, std::vector<std::uint32_t>& shingles) {
  ShingleWindow window(shingles);
  std::uint64_t word = kWordSeed;
  bool in_word = false;
  const auto end_word = [&] {
    if (in_word) window.add(mixed(word));
    word = kWordSeed;
    in_word = false;
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      if (const unsigned char c = word_character(byte)) {
        word = (word ^ c) * 0x100000001B3U;  // FNV-1a
        in_word = true;
      } else {
        end_word();
      }
      ++at;
      continue;
    }
    end_word();
    const std::size_t length = next_utf8_unit(text.substr(at)).length;
    for (std::size_t i = 0; i < length; ++i)
      word = (word ^ static_cast<unsigned char>(text[at + i])) * 0x100000001B3U;
    in_word = true;
    end_word();
    at += length;
  }
  end_word();
  window.finish();
}

void SignatureBuilder::add(std::string_view part) {
  shingles_.clear();
  append_shingles(part, shingles_);
  kernels::min_hashes(shingles_, least_);
}

void SignatureBuilder::merge(const SignatureBuilder& other) {
  for (std::size_t i = 0; i < least_.size(); ++i) least_[i] = std::min(least_[i], other.least_[i]);
}

Signature SignatureBuilder::signature() const {
  Signature signature;
  // The upper bits of a least image are zeros mostly; the lower are as good as random.
  for (std::size_t i = 0; i < signature.size(); ++i) signature[i] = static_cast<std::uint16_t>(least_[i]);
  return signature;
}

double similarity(const Signature& a, const Signature& b) {
  std::size_t equal = 0;
  for (std::size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i] ? 1U : 0U;
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

double Bands::probability(double jaccard) const {
  return 1 - std::pow(1 - std::pow(jaccard, static_cast<double>(rows)), static_cast<double>(bands));
}

std::uint64_t Bands::hash(const Signature& signature, std::size_t band) const {
  return checksum(std::as_bytes(std::span(signature).subspan(band * rows, rows)));
}

Bands bands_for(double threshold) {
  require(threshold > 0 && threshold <= 1, "a similarity of {}: it must be above 0 and at most 1", threshold);
  Bands best{kernels::kMinHashes, 1};
  for (std::size_t rows = 2; rows <= kernels::kMinHashes; ++rows) {
    const Bands longer{kernels::kMinHashes / rows, rows};
    if (longer.probability(threshold) >= kFound) best = longer;
  }
  return best;
}

}  // namespace fathom
