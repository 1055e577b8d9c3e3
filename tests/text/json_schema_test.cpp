#include "text/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "grammar_support.h"
#include "small_tokenizer.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom::test {
namespace {

using testing::HasSubstr;

/// Schemas and texts with Python's verdicts: see make_json_schema_goldens.py.
const Json& schema_goldens() {
  static const Json goldens = read_json_file(golden("text/goldens/json_schema.json"));
  return goldens;
}

std::string schema_error(std::string_view schema, const JsonSchemaOptions& options = {}) {
  return error_of([&] { GrammarAutomaton{json_schema_grammar(schema, "s", options)}; });
}

bool schema_takes(std::string_view schema, std::string_view text) {
  return GrammarAutomaton(json_schema_grammar(schema, "s")).stands_for(text);
}

TEST(JsonSchemaTest, TakesTextsThatSatisfyTheSchemaAndAllThatTheyBeginWith) {
  const Tokenizer tokenizer = small_tokenizer();
  for (const Json& golden : schema_goldens()) {
    const auto schema = golden["schema"].get<std::string>();
    const auto grammar = token_grammar(json_schema_grammar(schema, "s"), tokenizer);
    for (const Json& text : golden["texts"]) {
      GrammarMatcher matcher(grammar);
      for (const char byte : text.get<std::string>())
        ASSERT_TRUE(matcher.accept_bytes({&byte, 1})) << schema << "\n" << text;
      EXPECT_TRUE(matcher.may_end()) << schema << "\n" << text;
    }
  }
}

TEST(JsonSchemaTest, RefusesWhatPythonRefuses) {
  std::size_t valid = 0;
  for (const Json& golden : schema_goldens()) {
    const auto schema = golden["schema"].get<std::string>();
    const GrammarAutomaton automaton(json_schema_grammar(schema, "s"));
    for (const Json& mutant : golden["mutants"]) {
      const auto text = mutant[0].get<std::string>();
      const bool is_valid = mutant[1];
      const bool is_taken = automaton.stands_for(text);
      valid += is_valid ? 1 : 0;
      if (golden["is_exact"]) {
        EXPECT_EQ(is_taken, is_valid) << schema << "\n" << text;
      } else {
        EXPECT_TRUE(is_valid || !is_taken) << schema << "\n" << text;
      }
    }
  }
  EXPECT_GT(valid, 200U);
}

/// A text made of tokens chosen at random among those that are allowed; soon of those alone that come to an
/// end.
std::optional<std::string> random_text(const std::shared_ptr<const TokenGrammar>& grammar, Rng& random) {
  constexpr std::size_t kFree = 25;
  constexpr std::size_t kMost = 600;
  static const std::array<std::string_view, 10> closing = {"\"", "}", "]", "null", "0",
                                                           "1",  "t", "2", "-",    "Z"};
  GrammarMatcher matcher(grammar);
  std::string text;
  for (std::size_t step = 0; step < kMost; ++step) {
    const TokenMask& mask = matcher.mask();
    std::vector<std::int32_t> allowed;
    mask.for_each([&](std::size_t token) { allowed.push_back(static_cast<std::int32_t>(token)); });
    EXPECT_FALSE(allowed.empty()) << text;
    if (allowed.empty()) return std::nullopt;
    if (matcher.must_end() || (matcher.may_end() && (step > kFree || random.below(4) == 0))) return text;
    std::int32_t token = allowed[random.below(allowed.size())];
    if (token == grammar->end_of_text().front()) return text;
    if (step > kFree && random.below(3) != 0)
      for (const std::string_view end : closing) {
        const auto found = grammar->tokenizer().id_of(end);
        if (!found || !mask.allows(static_cast<std::size_t>(*found))) continue;
        token = *found;
        break;
      }
    EXPECT_TRUE(matcher.accept(token));
    text += grammar->tokenizer().token_bytes(token);
  }
  return std::nullopt;
}

TEST(JsonSchemaTest, RandomTextsUnderTheMaskAreJson) {
  const Tokenizer tokenizer = small_tokenizer();
  Rng random(3);
  std::size_t texts = 0;
  for (const Json& golden : schema_goldens()) {
    const auto schema = golden["schema"].get<std::string>();
    const auto grammar = token_grammar(json_schema_grammar(schema, "s"), tokenizer);
    for (int i = 0; i < 5; ++i)
      if (const auto text = random_text(grammar, random)) {
        try {
          EXPECT_FALSE(Json::parse(*text).is_discarded());
        } catch (const Json::out_of_range&) {  // 1e999 is JSON, and no double
        } catch (const Json::exception& error) {
          ADD_FAILURE() << schema << "\n" << *text << "\n" << error.what();
        }
        ++texts;
      }
  }
  EXPECT_GT(texts, 250U);
}

TEST(JsonSchemaTest, RandomTextsUnderTheMaskSatisfyTheirSchemasAsPythonSays) {
  const char* python = std::getenv("FATHOM_PEER_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "set FATHOM_PEER_PYTHON to a Python that has jsonschema";
  FATHOM_SHARED_DATA_OR_SKIP(data);
  const Tokenizer tokenizer = Tokenizer::load(data / "tokenizers/deepseek-v3");
  const std::vector<std::int64_t> end_of_text = {*tokenizer.eos()};
  const auto trie = std::make_shared<TokenTrie>(tokenizer, end_of_text);
  Rng random(4);
  std::string lines;
  std::size_t texts = 0;
  for (const Json& golden : schema_goldens()) {
    const auto schema = golden["schema"].get<std::string>();
    const auto grammar =
        std::make_shared<TokenGrammar>(json_schema_grammar(schema, "s"), tokenizer, trie, end_of_text);
    for (int i = 0; i < 20; ++i)
      if (const auto text = random_text(grammar, random)) {
        lines += Json::array({schema, *text}).dump() + "\n";
        ++texts;
      }
  }
  EXPECT_GT(texts, 1000U);
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "texts", lines);
  const std::string command = std::string(python) + " " +
                              golden("text/goldens/make_json_schema_goldens.py").string() + " --check < " +
                              (folder.path() / "texts").string();
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(JsonSchemaTest, NamesWhatCannotBeEnforced) {
  EXPECT_THAT(schema_error(R"({"properties": {"a": {"not": {}}}})"),
              HasSubstr("s#/properties/a: the keyword not cannot be enforced"));
  EXPECT_THAT(schema_error(R"({"type": "array", "uniqueItems": true})"),
              HasSubstr("the keyword uniqueItems"));
  EXPECT_THAT(schema_error(R"({"type": "number", "multipleOf": 3})"), HasSubstr("the keyword multipleOf"));
  EXPECT_THAT(schema_error(R"({"type": "number", "minimum": 0.5})"), HasSubstr("the keyword minimum"));
  EXPECT_THAT(schema_error(R"({"type": "string", "format": "color"})"), HasSubstr("color is not known"));
  EXPECT_THAT(schema_error(R"({"type": "string", "pattern": "a+", "maxLength": 3})"),
              HasSubstr("the keyword maxLength"));
  EXPECT_THAT(schema_error(R"({"minproperties": 1})"), HasSubstr("the keyword minproperties"));
  EXPECT_EQ(schema_error(R"({"properties": {"a": {"not": {}, "type": "array", "uniqueItems": true}}})",
                         {.ignores_unenforceable = true}),
            "no error");
}

TEST(JsonSchemaTest, NamesWhatIsWrong) {
  EXPECT_THAT(schema_error("{"), HasSubstr("s: not valid JSON"));
  EXPECT_THAT(schema_error("3"), HasSubstr("must be an object, true or false"));
  EXPECT_THAT(schema_error(R"({"type": "int"})"), HasSubstr("\"int\" is not a type of JSON"));
  EXPECT_THAT(schema_error(R"({"$ref": "#/x"})"), HasSubstr("there is no #/x"));
  EXPECT_THAT(schema_error(R"({"$ref": "http://x/y"})"), HasSubstr("is not in this schema"));
  EXPECT_THAT(schema_error(R"({"$ref": 1})"), HasSubstr("must be a string"));
  EXPECT_THAT(schema_error(R"({"type": "array", "minItems": -1})"),
              HasSubstr("s#/minItems: must be a whole number"));
  EXPECT_THAT(schema_error(R"({"type": "integer", "minimum": "1"})"), HasSubstr("must be a number"));
  EXPECT_THAT(schema_error(R"({"anyOf": []})"), HasSubstr("must be a list of schemas"));
  EXPECT_THAT(schema_error(R"({"type": "string", "pattern": "(a"})"), HasSubstr("')' is missing"));
  EXPECT_THAT(schema_error(R"s({"type": "string", "pattern": "a(?=b)"})s"), HasSubstr("look-around"));
  EXPECT_THAT(schema_error(R"({"required": [1]})"), HasSubstr("must be a list of names"));
}

TEST(JsonSchemaTest, NamesWhatNothingSatisfies) {
  for (const char* schema :
       {"false", R"({"enum": []})", R"({"type": "integer", "minimum": 5, "maximum": 4})",
        R"({"type": "string", "minLength": 5, "maxLength": 4})",
        R"({"allOf": [{"type": "string"}, {"type": "null"}]})",
        R"({"properties": {"a": false}, "required": ["a"]})", R"({"const": "x", "type": "integer"})"})
    EXPECT_THAT(schema_error(schema), HasSubstr("no value satisfies this schema")) << schema;
  EXPECT_THAT(schema_error(R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})"),
              HasSubstr("never ends"));
}

TEST(JsonSchemaTest, HostileSchemasAreRefusedSoon) {
  EXPECT_THAT(schema_error(R"({"$ref": "#"})"), HasSubstr("begins with itself"));
  EXPECT_THAT(schema_error(R"({"allOf": [{"$ref": "#"}, {"type": "object"}]})"), HasSubstr("in a circle"));
  EXPECT_THAT(schema_error(R"({"properties": {"x": {"$ref": "#", "minProperties": 0}}})"),
              HasSubstr("lead back to itself"));
  EXPECT_THAT(schema_error(R"({"type": "string", "pattern": "((a{1000}){1000}){1000}"})"),
              HasSubstr("too large"));
  std::string combinations = R"({"allOf": [)";
  for (int i = 0; i < 20; ++i)
    combinations += std::string(i > 0 ? "," : "") + R"({"anyOf": [{"minimum": 1}, {"maximum": 9}]})";
  EXPECT_THAT(schema_error(combinations + "]}"), HasSubstr("combinations of schemas"));
  EXPECT_THAT(schema_error(std::string(200, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(schema_error(R"({"type": "array", "items": {"type": "null"}, "maxItems": 1000000})"),
              HasSubstr("items to count"));
}

TEST(JsonSchemaTest, PropertiesKeepTheSchemasOrderAndOthersAreNotAddedUnasked) {
  constexpr const char* kSchema = R"({"properties": {"z": {"type": "null"}, "a": {"type": "null"}}})";
  EXPECT_TRUE(schema_takes(kSchema, R"({"z": null, "a": null})"));
  EXPECT_FALSE(schema_takes(kSchema, R"({"a": null, "z": null})"));
  EXPECT_FALSE(schema_takes(kSchema, R"({"b": null})"));
}

TEST(JsonSchemaTest, NoCommaStandsBeforeNothing) {
  constexpr const char* kSchema = R"({"properties": {"a": {"type": "null"}, "b": {"type": "null"}}})";
  EXPECT_TRUE(schema_takes(kSchema, R"({"a": null, "b": null})"));
  for (const char* text : {R"({"a": null,})", R"({"a": null,, "b": null})", R"({,"b": null})", "{,}"})
    EXPECT_FALSE(schema_takes(kSchema, text)) << text;
}

TEST(JsonSchemaTest, ANameCannotBeTakenByAnotherProperty) {
  constexpr const char* kSchema =
      R"({"properties": {"age": {"type": "integer"}}, "additionalProperties": {"type": "string"}})";
  EXPECT_FALSE(schema_takes(kSchema, R"({"age": "x"})"));
  EXPECT_FALSE(schema_takes(kSchema, R"({"\u0061ge": "x"})"));
  EXPECT_TRUE(schema_takes(kSchema, R"({"ages": "x", "ag": "y"})"));
}

TEST(JsonSchemaTest, WhiteSpaceBetweenTokensHasAnEnd) {
  const std::string_view schema = R"({"type": "array", "items": {"type": "integer"}})";
  for (const std::string_view text : {"[1,2]", "[ 1, 2 ]", "[\n  1,\n  2\n]", "[\r\n\t1 ]", "[\n\n1]"})
    EXPECT_TRUE(schema_takes(schema, text)) << text;
  const std::string deep(33, ' ');
  EXPECT_TRUE(schema_takes(schema, "[\n" + deep.substr(1) + "1]"));
  for (const std::string& text :
       {"[\n" + deep + "1]", std::string("[  1]"), std::string("[\n\n\n1]"), std::string("[\t1]")})
    EXPECT_FALSE(schema_takes(schema, text)) << text;
}

TEST(JsonSchemaTest, JsonModeIsOneObject) {
  const GrammarAutomaton json(json_object_grammar());
  EXPECT_TRUE(json.stands_for(R"({"a": [1, {"b": null}]})"));
  EXPECT_FALSE(json.stands_for("[1]"));
  EXPECT_FALSE(json.stands_for("{} "));
}

}  // namespace
}  // namespace fathom::test
