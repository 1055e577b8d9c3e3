// `fathom tokenize`: the ids of a text, or the text of ids.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/token_list.h"
#include "infer/named_tokenizer.h"
#include "text/tokenizer.h"

namespace fathom::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string text;
  std::string file;
  std::string ids;
  bool json = false;
  bool no_special = false;
  CLI::Option* text_given = nullptr;
  CLI::Option* file_given = nullptr;
  CLI::Option* ids_given = nullptr;
};

std::string read_input(const TokenizeOptions& options) {
  if (options.text_given->count() > 0) return options.text;
  if (options.file_given->count() > 0) return read_text_file(options.file, kMaxTextBytes);
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

// A token's bytes on one line: control characters and broken UTF-8 escaped.
std::string printable(std::string_view bytes) {
  return nlohmann::json(std::string(bytes)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void tokenize(const TokenizeOptions& options) {
  const Tokenizer tokenizer = load_named_tokenizer(options.model);
  if (options.ids_given->count() > 0) {
    const std::string text = tokenizer.decode(parse_token_list(options.ids, "--decode"), options.no_special);
    fmt::print("{}", options.json ? printable(text) + "\n" : text);
    return;
  }
  const std::vector<std::int32_t> ids = tokenizer.encode(read_input(options), !options.no_special);
  if (options.json) {
    fmt::print("{}\n", nlohmann::json(ids).dump());
    return;
  }
  for (const std::int32_t id : ids) {
    fmt::print("{:>8}  {}\n", id, printable(tokenizer.token_bytes(id)));
  }
  fmt::print(stderr, "{} tokens\n", ids.size());
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command =
      app.add_subcommand("tokenize", "Show the token ids of a text, or the text of token ids");
  command
      ->add_option("model", options->model,
                   "Folder with tokenizer.json, or of a training run, or such a file, or a .gguf file")
      ->required();
  options->text_given = command->add_option("--text", options->text, "The text (default: standard input)");
  options->file_given = command->add_option("--file", options->file, "A file with the text");
  options->ids_given = command->add_option("--decode", options->ids, "Ids, as 1,2,3, to turn into text");
  options->file_given->excludes(options->text_given);
  options->ids_given->excludes(options->text_given)->excludes(options->file_given);
  command->add_flag("--json", options->json, "Print a JSON array of ids (with --decode: a JSON string)");
  command->add_flag("--no-special", options->no_special,
                    "Do not add special tokens such as BOS (with --decode: leave them out)");
  command->callback([options] { tokenize(*options); });
}

}  // namespace fathom::cli
