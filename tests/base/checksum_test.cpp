#include "base/checksum.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace fathom {
namespace {

/// Known answers: `xxhsum -H64` (xxHash 0.8) of the same bytes.
TEST(ChecksumTest, EqualsPublishedXxh64Values) {
  EXPECT_EQ(checksum(""), 0xEF46DB3751D8E999U);
  EXPECT_EQ(checksum("a"), 0xD24EC4F1A98C6E5BU);
  EXPECT_EQ(checksum("abc"), 0x44BC2CF5AD770999U);
}

TEST(ChecksumTest, DoesNotDependOnHowTheBytesAreCut) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 37 % 251);
  const std::uint64_t whole = checksum(text);
  for (const std::size_t piece : {1U, 7U, 31U, 32U, 33U, 100U}) {
    Checksum sum;
    for (std::size_t at = 0; at < text.size(); at += piece)
      sum.update(std::as_bytes(std::span(text).subspan(at, std::min(piece, text.size() - at))));
    EXPECT_EQ(sum.value(), whole) << "pieces of " << piece;
  }
}

TEST(ChecksumTest, AnyFlippedBitChangesIt) {
  std::string text(77, 'x');
  const std::uint64_t whole = checksum(text);
  for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(checksum(text), whole) << "bit " << bit;
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
  }
}

}  // namespace
}  // namespace fathom
