#pragma once

#include <string>
#include <string_view>

#include "text/grammar.h"

namespace fathom {

struct JsonSchemaOptions {
  /// Keywords that a grammar cannot enforce count as absent, where they are an error otherwise.
  bool ignores_unenforceable = false;
};

/// The grammar of JSON texts that satisfy a JSON Schema (draft 2020-12, with what older ones call
/// `definitions` and lists of `items`). Every text that it stands for satisfies the schema; of those that do
/// it has the ones written in the usual way, as docs/structured_output.md says: properties in the schema's
/// order, only those that are named where `additionalProperties` says nothing, no escapes where none are
/// needed in keys and patterns.
///
/// Anybody may have written the schema: its size, nesting and combinations are bounded.
/// @param where  names the schema in messages, which go on with a JSON pointer: "schema#/properties/age"
/// Throws `Error` that names the keyword which cannot be enforced or is wrong.
Grammar json_schema_grammar(std::string_view schema, const std::string& where,
                            const JsonSchemaOptions& options = {});

/// Any JSON object: "JSON mode".
Grammar json_object_grammar();

}  // namespace fathom
