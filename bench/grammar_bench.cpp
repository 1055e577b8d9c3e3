// What structured output costs: time to make a grammar, and to find a token's mask and take the token, one
// thread, on the way of JSON texts through the masks. The texts are tokenised as a model would write them;
// the first way through a grammar makes the masks that later ones find.
//
// usage: grammar_bench [TOKENIZER_FOLDER]
// The folder is by default shared/data/tokenizers/deepseek-v3 beside the checkout (129,280 tokens).

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/grammar_compiler.h"
#include "text/tokenizer.h"

namespace {

using namespace fathom;
using Clock = std::chrono::steady_clock;

/// Of one of 16 billion parameters here, which a token's mask must be small against.
constexpr double kDecodeStepMicroseconds = 60'000;
constexpr int kLaterWays = 20;

struct Case {
  const char* name;
  GrammarRequest request;
  const char* text;
};

const char* const kPerson = R"({"type": "object", "properties": {
  "name": {"type": "string", "minLength": 1, "maxLength": 200},
  "born": {"type": "string", "format": "date"},
  "email": {"type": "string", "format": "email"},
  "height": {"type": "integer", "minimum": 20, "maximum": 280},
  "nicknames": {"type": "array", "items": {"type": "string", "maxLength": 80}, "maxItems": 5},
  "role": {"enum": ["admin", "editor", "reader"]}},
  "required": ["name", "born", "height"], "additionalProperties": false})";
const char* const kTree = R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
  "title": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
  "required": ["title", "children"], "additionalProperties": false}}})";
const char* const kCalls = R"({"type": "array", "minItems": 1, "items": {"anyOf": [
  {"type": "object", "properties": {"tool": {"const": "search"}, "query": {"type": "string"}, "limit": {"type": "integer"}},
   "required": ["tool", "query"], "additionalProperties": false},
  {"type": "object", "properties": {"tool": {"const": "open"}, "path": {"type": "string", "pattern": "^/[a-z0-9/._-]*$"}},
   "required": ["tool", "path"], "additionalProperties": false}]}})";
const char* const kArithmetic =
    "root ::= term (\" \" [-+*/] \" \" term)* \" = \" number\n"
    "term ::= number | \"(\" term (\" \" [-+*/] \" \" term)* \")\"\n"
    "number ::= \"-\"? [0-9]+ (\".\" [0-9]+)?\n";

const char* const kJsonText =
    R"({"name": "Ada Lovelace", "born": 1815, "works": ["Notes on the \"Analytical Engine\"", "Über 中文 texts, and )"
    R"(letters about flying machines, mathematics and music"], "x": {"deep": [1, 2.5, -3e10, true, null, {"a": []}]}})";
const char* const kPersonText =
    R"({"name": "Augusta Ada King, Countess of Lovelace, born Byron, the enchantress of numbers", "born": "1815-12-10", )"
    R"("email": "ada.lovelace@example.org", "height": 165, "nicknames": ["Ada", "the bride of science"], "role": "admin"})";
const char* const kTreeText =
    R"({"title": "Introduction to the theory of everything", "children": [{"title": "First principles", "children": []}, )"
    R"({"title": "Consequences", "children": [{"title": "Of the first kind", "children": []}]}]})";
const char* const kCallsText =
    R"([{"tool": "search", "query": "how do masks of tokens work", "limit": 10}, {"tool": "open", "path": "/usr/lib/os-release"}])";

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

struct Costs {
  std::vector<double> microseconds;  // of each token

  [[nodiscard]] double share(double part) {
    std::ranges::sort(microseconds);
    return microseconds[static_cast<std::size_t>(part * static_cast<double>(microseconds.size() - 1))];
  }
};

/// Goes the way of a text once, with a matcher of its own.
void go_way(const std::shared_ptr<const TokenGrammar>& grammar, const std::vector<std::int32_t>& tokens,
            Costs& costs) {
  GrammarMatcher matcher(grammar);
  for (const std::int32_t token : tokens) {
    const Clock::time_point start = Clock::now();
    const bool is_allowed = matcher.mask().allows(static_cast<std::size_t>(token));
    const bool is_accepted = matcher.accept(token);
    costs.microseconds.push_back(microseconds_since(start));
    require(is_allowed && is_accepted, "token {} of a text does not follow its grammar", token);
  }
  require(matcher.may_end(), "a text ends before its grammar does");
}

}  // namespace

int main(int argc, char** argv) {
  const char* shared = std::getenv("FATHOM_SHARED_DATA");
  const std::filesystem::path data = shared != nullptr
                                         ? std::filesystem::path(shared)
                                         : std::filesystem::path(FATHOM_SOURCE_DIR) / "../shared/data";
  const std::filesystem::path folder =
      argc > 1 ? std::filesystem::path(argv[1]) : data / "tokenizers/deepseek-v3";
  if (!std::filesystem::exists(folder / "tokenizer.json")) {
    fmt::print("no tokenizer at {}: name its folder\n", folder.string());
    return 0;
  }
  const Tokenizer tokenizer = Tokenizer::load(folder);
  std::vector<std::int64_t> end_of_text;
  if (tokenizer.eos()) end_of_text.push_back(*tokenizer.eos());
  GrammarCompiler compiler(tokenizer, end_of_text);
  Clock::time_point start = Clock::now();
  compiler.compile({.kind = GrammarRequest::Kind::kGbnf, .text = "root ::= \"a\""});
  fmt::print("{} tokens; tree of them, once: {:.0f} ms\n\n", tokenizer.vocab_size(),
             microseconds_since(start) / 1e3);

  using Kind = GrammarRequest::Kind;
  const std::vector<Case> cases = {
      {"JSON object", {.kind = Kind::kJsonObject, .text = {}}, kJsonText},
      {"person schema", {.kind = Kind::kJsonSchema, .text = kPerson}, kPersonText},
      {"recursive schema", {.kind = Kind::kJsonSchema, .text = kTree}, kTreeText},
      {"tool calls schema", {.kind = Kind::kJsonSchema, .text = kCalls}, kCallsText},
      {"arithmetic (GBNF)", {.kind = Kind::kGbnf, .text = kArithmetic}, "12 + (3.5 * -4) - (7) = -9"},
  };
  fmt::print("{:<19}{:>8}{:>8}{:>12}{:>34}{:>34}{:>10}\n", "", "", "compile", "", "first way, µs a token",
             "later ways, µs a token", "of a step");
  fmt::print("{:<19}{:>8}{:>8}{:>12}{:>12}{:>11}{:>11}{:>12}{:>11}{:>11}{:>10}\n", "grammar", "states", "ms",
             "tokens", "median", "p99", "most", "median", "p99", "most", "p99");
  for (const Case& one : cases) {
    start = Clock::now();
    const auto grammar = compiler.compile(one.request);
    const double compile = microseconds_since(start);
    const std::vector<std::int32_t> tokens = tokenizer.encode(one.text, false);
    Costs first;
    Costs later;
    go_way(grammar, tokens, first);
    for (int way = 0; way < kLaterWays; ++way) go_way(grammar, tokens, later);
    fmt::print("{:<19}{:>8}{:>8.1f}{:>12}{:>12.1f}{:>11.1f}{:>11.1f}{:>12.1f}{:>11.1f}{:>11.1f}{:>9.2f}%\n",
               one.name, grammar->automaton().size(), compile / 1e3, tokens.size(), first.share(0.5),
               first.share(0.99), first.share(1), later.share(0.5), later.share(0.99), later.share(1),
               100 * later.share(0.99) / kDecodeStepMicroseconds);
  }
  return 0;
}
