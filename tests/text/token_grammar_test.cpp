#include "text/token_grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/rng.h"
#include "grammar_support.h"
#include "small_tokenizer.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom::test {
namespace {

using testing::HasSubstr;

constexpr std::string_view kJsonGrammar = R"gbnf(
root    ::= value
value   ::= object | array | string | number | "true" | "false" | "null"
object  ::= "{" ws ( string ws ":" ws value ws ( "," ws string ws ":" ws value ws )* )? "}"
array   ::= "[" ws ( value ws ( "," ws value ws )* )? "]"
string  ::= "\"" ( [^"\\\x00-\x1F] | "\\" ( ["\\/bfnrt] | "u" [0-9a-fA-F]{4} ) )* "\""
number  ::= "-"? ( "0" | [1-9] [0-9]* ) ( "." [0-9]+ )? ( [eE] [-+]? [0-9]+ )?
ws      ::= [ \t\n\r]*
)gbnf";

/// Grammars in which masks are hard: rules that end inside tokens, characters cut by tokens, ambiguity,
/// bounds.
const std::vector<std::string_view>& hard_grammars() {
  static const std::vector<std::string_view> grammars = {
      kJsonGrammar,
      "root ::= [一-龥]+ \"。\" | [\\U0001F300-\\U0001F9FF]{1,3} | word (\" \" word)*\nword ::= [a-zA-Zéü]+",
      "root ::= (a a)* \"!\"\na ::= \"a\"+ | \"ab\" | \"\"",
      "root ::= [^\\n]{0,40} \"\\n\" root | \"end\"",
      "root ::= pair*\npair ::= \"(\" pair* \")\" | \"[\" pair* \"]\" | [a-z ]",
      "root ::= \"int \" [a-z]+ \" = \" expr \";\"\nexpr ::= term ([-+*/] term)*\nterm ::= [0-9]+ | \"(\" "
      "expr \")\"",
  };
  return grammars;
}

/// Goes a random way under the mask, as a model would that likes every allowed token equally, and at each of
/// some steps compares the mask with what trying each token says.
void compare_masks_on_random_ways(const Tokenizer& tokenizer, std::string_view grammar_text,
                                  std::size_t steps, std::size_t compare_every, std::uint64_t seed) {
  const auto vocab = static_cast<std::size_t>(tokenizer.vocab_size());
  const auto grammar = gbnf_grammar(grammar_text, tokenizer);
  Rng random(seed);
  GrammarMatcher matcher(grammar);
  std::string text;
  for (std::size_t step = 0; step < steps; ++step) {
    const TokenMask& mask = matcher.mask();
    if (step % compare_every == 0) {
      ASSERT_EQ(mask, tried_mask(matcher, vocab)) << grammar_text << "\nafter: " << text;
    }
    ASSERT_GT(mask.count(), 0U) << text;
    std::vector<std::int32_t> allowed;
    mask.for_each([&](std::size_t token) { allowed.push_back(static_cast<std::int32_t>(token)); });
    const std::int32_t token = allowed[random.below(allowed.size())];
    ASSERT_TRUE(matcher.accept(token)) << token;
    text += tokenizer.token_bytes(token);
    if (matcher.must_end()) {
      EXPECT_TRUE(matcher.may_end());
      matcher.rollback(matcher.accepted());
      text.clear();
    }
  }
}

TEST(TokenGrammarTest, MasksAreWhatTryingEachTokenSays) {
  for (const std::string_view grammar : hard_grammars())
    compare_masks_on_random_ways(small_tokenizer(), grammar, 200, 2, 7);
}

TEST(TokenGrammarTest, MasksOfARealVocabularyAreWhatTryingEachTokenSays) {
  FATHOM_SHARED_DATA_OR_SKIP(data);
  const Tokenizer tokenizer = Tokenizer::load(data / "tokenizers/deepseek-v3");
  for (const std::string_view grammar : hard_grammars())
    compare_masks_on_random_ways(tokenizer, grammar, 40, 9, 11);
}

TEST(TokenGrammarTest, SpecialTokensAreNeverAllowedAndTheEndOnlyWhereTheTextMayEnd) {
  const Tokenizer tokenizer = small_tokenizer();
  const auto grammar = gbnf_grammar("root ::= .{2,}", tokenizer);
  GrammarMatcher matcher(grammar);
  const auto eos = static_cast<std::size_t>(*tokenizer.eos());
  const auto bos = static_cast<std::size_t>(*tokenizer.bos());
  EXPECT_FALSE(matcher.mask().allows(eos));
  EXPECT_FALSE(matcher.mask().allows(bos));
  EXPECT_FALSE(matcher.accept(*tokenizer.eos()));
  ASSERT_TRUE(matcher.accept_bytes("ab"));
  EXPECT_TRUE(matcher.mask().allows(eos));
  EXPECT_FALSE(matcher.mask().allows(bos));
  EXPECT_FALSE(matcher.accept(*tokenizer.bos()));
  EXPECT_FALSE(matcher.must_end());
  ASSERT_TRUE(matcher.accept(*tokenizer.eos()));
  EXPECT_TRUE(matcher.must_end());
}

TEST(TokenGrammarTest, WhereOnlyTheEndIsLeftNothingElseIsAllowed) {
  const Tokenizer tokenizer = small_tokenizer();
  GrammarMatcher matcher(gbnf_grammar("root ::= \"yes\"", tokenizer));
  ASSERT_TRUE(matcher.accept_bytes("yes"));
  EXPECT_TRUE(matcher.must_end());
  TokenMask end(static_cast<std::size_t>(tokenizer.vocab_size()));
  end.allow(static_cast<std::size_t>(*tokenizer.eos()));
  EXPECT_EQ(matcher.mask(), end);
}

TEST(TokenGrammarTest, CharactersMayBeCutByTokens) {
  const Tokenizer tokenizer = small_tokenizer();
  const auto grammar = gbnf_grammar("root ::= \"😀\" | \"😁\"", tokenizer);
  GrammarMatcher matcher(grammar);
  ASSERT_TRUE(matcher.accept_bytes("\xF0\x9F"));
  ASSERT_TRUE(matcher.accept_bytes("\x98"));
  EXPECT_FALSE(matcher.may_end());
  const std::int32_t last = tokenizer.id_of("Ģ").value();   // 80
  const std::int32_t wrong = tokenizer.id_of("Ĥ").value();  // 82
  EXPECT_TRUE(matcher.mask().allows(static_cast<std::size_t>(last)));
  EXPECT_FALSE(matcher.mask().allows(static_cast<std::size_t>(wrong)));
  EXPECT_TRUE(matcher.accept(last));
  EXPECT_TRUE(matcher.may_end());
}

TEST(TokenGrammarTest, RollbackAndCopiesComeToTheSameMasks) {
  const Tokenizer tokenizer = small_tokenizer();
  const auto grammar = gbnf_grammar(kJsonGrammar, tokenizer);
  const std::vector<std::int32_t> tokens =
      tokenizer.encode(R"({"name": ["\u00e9", {"x": [1, 2.5e-3, null]}], "b": true})", false);
  GrammarMatcher matcher(grammar);
  std::vector<TokenMask> masks;
  for (const std::int32_t token : tokens) {
    masks.push_back(matcher.mask());
    ASSERT_TRUE(matcher.accept(token));
  }
  EXPECT_TRUE(matcher.must_end());
  for (std::size_t i = tokens.size(); i-- > 0;) {
    matcher.rollback(1);
    EXPECT_EQ(matcher.mask(), masks[i]);
    GrammarMatcher copy(matcher);
    EXPECT_EQ(copy.mask(), masks[i]);
    EXPECT_TRUE(copy.accept(tokens[i]));
    EXPECT_EQ(matcher.accepted(), i);
    EXPECT_EQ(matcher.mask(), masks[i]);  // the copy's way is its own
  }
  EXPECT_THAT(error_of([&] { matcher.rollback(1); }), HasSubstr("0 have been taken"));
}

TEST(TokenGrammarTest, ATokenThatIsRefusedChangesNothing) {
  const Tokenizer tokenizer = small_tokenizer();
  GrammarMatcher matcher(gbnf_grammar("root ::= \"abc\"", tokenizer));
  EXPECT_FALSE(matcher.accept_bytes("abd"));
  EXPECT_FALSE(matcher.accept(-1));
  EXPECT_FALSE(matcher.accept(1 << 30));
  EXPECT_TRUE(matcher.accept_bytes("abc"));
}

TEST(TokenGrammarTest, UnreasonableAmbiguityIsAnErrorAndNotAHang) {
  const Tokenizer tokenizer = small_tokenizer();
  std::string text = "root ::= ";
  for (int i = 0; i < 1000; ++i) text += (i > 0 ? " | r" : "r") + std::to_string(i);
  for (int i = 0; i < 1000; ++i)
    text += "\nr" + std::to_string(i) + " ::= [a-z]+ \"" + std::to_string(i) + "\"";
  EXPECT_THAT(error_of([&] { GrammarMatcher matcher(gbnf_grammar(text, tokenizer)); }),
              HasSubstr("more than 400 ways"));
  GrammarMatcher nested(gbnf_grammar("root ::= \"(\" root \")\" | \"x\"", tokenizer));
  EXPECT_THAT(error_of([&] { nested.accept_bytes(std::string(2'000'000, '(')); }),
              HasSubstr("nested too deeply"));
}

}  // namespace
}  // namespace fathom::test
