#include "text/utf8.h"

#include <gtest/gtest.h>

#include "text/byte_alphabet.h"
#include "text/in_quotes.h"

namespace fathom::test {
namespace {

std::string repaired(std::string_view bytes) {
  std::string text;
  append_as_utf8(bytes, text);
  return text;
}

// What Python 3.11 gives for bytes.decode("utf-8", errors="replace").
TEST(Utf8Test, ReplacesEachMaximalInvalidRun) {
  EXPECT_EQ(repaired("abc é 漢 😀"), "abc é 漢 😀");
  EXPECT_EQ(repaired("\xff"), "�");
  EXPECT_EQ(repaired("\xc0\xaf"), "��");
  EXPECT_EQ(repaired("\xed\xa0\x80"), "���");
  EXPECT_EQ(repaired("\xf4\x90\x80\x80"), "����");
  EXPECT_EQ(repaired("\xf0\x9f\x98"), "�");
  EXPECT_EQ(repaired("\xf0\x9f\x98!\xe4\xb8\xc3("), "�!��(");
}

TEST(Utf8Test, OnlyWellFormedBytesAreValid) {
  EXPECT_TRUE(is_valid_utf8(""));
  EXPECT_TRUE(is_valid_utf8("0123456789 é\xf4\x8f\xbf\xbf"));
  EXPECT_FALSE(is_valid_utf8("01234567\xff"));
  EXPECT_FALSE(is_valid_utf8("\xf4\x90\x80\x80"));
  EXPECT_FALSE(is_valid_utf8("\xe4\xb8"));
}

TEST(Utf8Test, AppendsCodePointsOfEveryLength) {
  std::string text;
  for (const std::uint32_t code_point : {0x24U, 0xE9U, 0x6F22U, 0x1F600U})
    append_code_point(code_point, text);
  EXPECT_EQ(text, "$é漢😀");
}

TEST(ByteAlphabetTest, SpellsEveryByteAndReadsItBack) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  const std::string spelled = spell_bytes(all);
  EXPECT_TRUE(is_valid_utf8(spelled));
  EXPECT_EQ(bytes_of_spelling(spelled), all);
  EXPECT_EQ(spell_bytes(" the\n"), "ĠtheĊ");
}

TEST(ByteAlphabetTest, OtherTextStandsForItself) {
  EXPECT_EQ(bytes_of_spelling("<｜User｜>"), "<｜User｜>");
  EXPECT_FALSE(is_byte_spelling("a b"));
  EXPECT_FALSE(is_byte_spelling("漢"));
  EXPECT_FALSE(is_byte_spelling("\xc4"));
  EXPECT_TRUE(is_byte_spelling("Ġ"));
}

TEST(InQuotesTest, IsOneLineOfValidTextAndNotLong) {
  EXPECT_EQ(in_quotes("é\n\x1b[31m\xff"), "\"é\\n\\x1b[31m�\"");
  EXPECT_EQ(in_quotes(std::string(300, 'a')), "\"" + std::string(200, 'a') + "...\"");
}

}  // namespace
}  // namespace fathom::test
