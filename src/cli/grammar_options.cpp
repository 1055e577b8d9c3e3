#include "cli/grammar_options.h"

#include <cstdint>
#include <iostream>
#include <iterator>

#include "base/file.h"

namespace fathom::cli {
namespace {

constexpr std::uint64_t kMaxGrammarFile = std::uint64_t{1} << 20U;

std::string read_standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

}  // namespace

void add_grammar_options(CLI::App& command, GrammarOptions& options) {
  CLI::Option* grammar = command.add_option("--grammar", options.grammar,
                                            "File with a grammar (GBNF) that the answer is to follow");
  CLI::Option* schema =
      command.add_option("--json-schema", options.json_schema,
                         "File with a JSON Schema that the answer is to satisfy; -: standard input");
  CLI::Option* object =
      command.add_flag("--json-object", options.json_object, "The answer is to be a JSON object");
  command
      .add_flag("--ignore-unenforceable", options.ignores_unenforceable,
                "Keywords of the schema that cannot be enforced count as absent")
      ->needs(schema);
  grammar->excludes(schema)->excludes(object);
  schema->excludes(object);
}

GrammarRequest read_grammar_request(const GrammarOptions& options) {
  using Kind = GrammarRequest::Kind;
  if (options.grammar)
    return {.kind = Kind::kGbnf, .text = read_text_file(*options.grammar, kMaxGrammarFile)};
  if (options.json_schema)
    return {.kind = Kind::kJsonSchema,
            .text = options.reads_standard_input() ? read_standard_input()
                                                   : read_text_file(*options.json_schema, kMaxGrammarFile),
            .ignores_unenforceable = options.ignores_unenforceable};
  if (options.json_object) return {.kind = Kind::kJsonObject, .text = {}};
  return {};
}

}  // namespace fathom::cli
