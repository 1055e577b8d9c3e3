#include "train/retrieval_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "support/error_text.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

std::size_t sentences_with(const std::string& text, const std::string& piece) {
  std::size_t count = 0;
  for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++count;
  return count;
}

TEST(RetrievalTextTest, EveryQuestionComesAfterItsFactAndHasItsAnswer) {
  for (std::uint64_t i = 0; i < 50; ++i) {
    Rng rng(7, i);
    const std::string document = " " + retrieval_document(rng, 12, 0.3);
    std::size_t asked = 0;
    for (const std::string_view key : fact_keys()) {
      const std::string question = Fact{std::string(key), ""}.question();
      for (std::size_t at = document.find(question); at != std::string::npos;
           at = document.find(question, at + 1)) {
        ++asked;
        const std::size_t begin = at + question.size();
        const std::string answer = document.substr(begin, document.find('.', begin) - begin);
        const std::string fact = Fact{std::string(key), answer.substr(1)}.statement();
        EXPECT_LT(document.find(fact), at) << document;
      }
    }
    EXPECT_GE(asked, 1U) << document;
    EXPECT_EQ(asked, sentences_with(document, "Again, "));
    EXPECT_EQ(sentences_with(document, "."), 12U) << "as many sentences as asked for";
  }
}

TEST(RetrievalTextTest, SameSeedSameDocument) {
  Rng a(1, 2);
  Rng b(1, 2);
  Rng c(1, 3);
  const std::string document = retrieval_document(a, 30, 0.3);
  EXPECT_EQ(retrieval_document(b, 30, 0.3), document);
  EXPECT_NE(retrieval_document(c, 30, 0.3), document);
  EXPECT_FALSE(document.starts_with(' '));
  EXPECT_TRUE(document.ends_with('.'));
}

TEST(RetrievalTextTest, SmallAndLargeDocumentsHaveAsManyFactsAsFit) {
  Rng rng(1);
  EXPECT_EQ(sentences_with(retrieval_document(rng, 2, 0.3), "Again, "), 1U);
  EXPECT_EQ(sentences_with(retrieval_document(rng, 3000, 0.3), "The password of "), fact_keys().size());
  EXPECT_THAT(error_of([&] { retrieval_document(rng, 1, 0.3); }), HasSubstr("no room for a fact"));
}

TEST(RetrievalTextTest, FactsAreAboutDifferentCitiesThatAreAllowed) {
  Rng rng(3);
  std::set<std::string> keys;
  for (const Fact& fact : random_facts(rng, 9, [](std::string_view key) { return key > "Lima"; })) {
    EXPECT_GT(fact.key, "Lima");
    keys.insert(fact.key);
  }
  EXPECT_EQ(keys.size(), 9U);
  EXPECT_THAT(error_of([&] { random_facts(rng, 17); }), HasSubstr("17 facts asked for, there are 16"));
}

TEST(RetrievalTextTest, AnswersAreNotInTheFiller) {
  Rng rng(5);
  std::string filler;
  for (int i = 0; i < 200; ++i) filler += filler_sentence(rng);
  for (const Fact& fact : random_facts(rng, 16)) {
    EXPECT_EQ(filler.find(fact.key), std::string::npos);
    EXPECT_EQ(filler.find(fact.value), std::string::npos);
  }
}

}  // namespace
}  // namespace fathom
