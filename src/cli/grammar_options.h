#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "text/grammar_compiler.h"

namespace fathom::cli {

/// What the answer is to look like, as options of a command.
struct GrammarOptions {
  std::optional<std::string> grammar;      // file
  std::optional<std::string> json_schema;  // file, or "-"
  bool json_object = false;
  bool ignores_unenforceable = false;

  /// Whether the standard input holds the schema.
  [[nodiscard]] bool reads_standard_input() const { return json_schema == "-"; }
};

void add_grammar_options(CLI::App& command, GrammarOptions& options);

/// Reads what the options name.
GrammarRequest read_grammar_request(const GrammarOptions& options);

}  // namespace fathom::cli
