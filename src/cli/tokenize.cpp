// `fathom tokenize`: the ids of a text or a conversation, or the text of ids.

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
#include "base/ordered_json.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/token_list.h"
#include "infer/named_tokenizer.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace fathom::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string text;
  std::string file;
  std::string ids;
  std::string chat;
  std::string chat_template;
  bool render = false;
  bool add_generation_prompt = false;
  bool continue_final_message = false;
  bool json = false;
  bool no_special = false;
  CLI::Option* text_given = nullptr;
  CLI::Option* file_given = nullptr;
  CLI::Option* ids_given = nullptr;
  CLI::Option* chat_given = nullptr;
};

std::string read_input(const TokenizeOptions& options) {
  if (options.text_given->count() > 0) return options.text;
  if (options.file_given->count() > 0) return read_text_file(options.file, kMaxTextBytes);
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

// A conversation by the model's chat template. The file holds a list of messages, or an object with
// `messages` and what else a request has: `tools`, `documents`, `chat_template_kwargs`.
std::string render_chat(const TokenizeOptions& options, const Tokenizer& tokenizer) {
  const OrderedJson file = parse_ordered_json(read_text_file(options.chat, kMaxTextBytes), options.chat);
  const auto given = [&](const char* key) {
    const bool is_there = file.is_object() && file.contains(key) && !file.at(key).is_null();
    return is_there ? &file.at(key) : nullptr;
  };
  const OrderedJson* messages = file.is_array() ? &file : given("messages");
  require(messages != nullptr, "{}: expected a list of messages, or an object with \"messages\"",
          options.chat);
  ChatTemplateOptions with;
  with.tools = given("tools");
  with.documents = given("documents");
  with.variables = given("chat_template_kwargs");
  with.add_generation_prompt = options.add_generation_prompt;
  with.continue_final_message = options.continue_final_message;
  ChatSource source = tokenizer.chat_source();
  if (!options.chat_template.empty()) {
    source.where = options.chat_template;
    source.chat_template = read_text_file(options.chat_template, kMaxTextBytes);
    source.tool_template.clear();
  }
  return ChatFormat(source).render(*messages, with).text;
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
  const bool is_chat = options.chat_given->count() > 0;
  const std::string text = is_chat ? render_chat(options, tokenizer) : read_input(options);
  if (options.render) {
    fmt::print("{}", options.json ? printable(text) + "\n" : text);
    return;
  }
  // A chat template writes BOS itself.
  const std::vector<std::int32_t> ids = tokenizer.encode(text, !is_chat && !options.no_special);
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
  CLI::App* command = app.add_subcommand(
      "tokenize", "Show the token ids of a text or a conversation, or the text of token ids");
  command
      ->add_option("model", options->model,
                   "Folder with tokenizer.json, or of a training run, or such a file, or a .gguf file")
      ->required();
  options->text_given = command->add_option("--text", options->text, "The text (default: standard input)");
  options->file_given = command->add_option("--file", options->file, "A file with the text");
  options->ids_given = command->add_option("--decode", options->ids, "Ids, as 1,2,3, to turn into text");
  options->file_given->excludes(options->text_given);
  options->ids_given->excludes(options->text_given)->excludes(options->file_given);
  options->chat_given =
      command->add_option("--chat", options->chat,
                          "A JSON file with the messages of a conversation, for the model's chat template");
  options->chat_given->excludes(options->text_given)
      ->excludes(options->file_given)
      ->excludes(options->ids_given);
  command->add_option("--chat-template", options->chat_template, "A Jinja file to use instead of the model's")
      ->needs(options->chat_given);
  command->add_flag("--render", options->render, "Print the conversation as the model reads it, and no ids")
      ->needs(options->chat_given);
  CLI::Option* prompt = command->add_flag("--add-generation-prompt", options->add_generation_prompt,
                                          "End where an answer begins");
  prompt->needs(options->chat_given);
  command
      ->add_flag("--continue-final-message", options->continue_final_message,
                 "End where the last message does, for it to go on")
      ->needs(options->chat_given)
      ->excludes(prompt);
  command->add_flag("--json", options->json,
                    "Print a JSON array of ids (with --decode or --render: a JSON string)");
  command->add_flag("--no-special", options->no_special,
                    "Do not add special tokens such as BOS (with --decode: leave them out)");
  command->callback([options] { tokenize(*options); });
}

}  // namespace fathom::cli
