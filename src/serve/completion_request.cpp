#include "serve/completion_request.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/ordered_json.h"
#include "serve/api_error.h"

namespace fathom {
namespace {

constexpr std::size_t kMostStops = 16;
constexpr std::size_t kLongestStop = 1024;
/// OpenAI's default.
constexpr std::int64_t kDefaultMaxTokens = 16;

/// Reads the fields of one body.
class Fields {
 public:
  explicit Fields(const Json& body) : body_(body) {}

  /// Null where the field is absent or null, which means the same.
  [[nodiscard]] const Json* find(const char* name) const {
    const auto found = body_.find(name);
    return found == body_.end() || found->is_null() ? nullptr : &*found;
  }
  void number(const char* name, double& value) const {
    const Json* field = find(name);
    if (field == nullptr) return;
    if (!field->is_number()) throw bad_request(fmt::format("{} must be a number", name), name);
    value = field->get<double>();
  }
  void integer(const char* name, std::int64_t least, std::int64_t& value) const {
    const Json* field = find(name);
    if (field == nullptr) return;
    const bool fits =
        field->is_number_integer() &&
        (!field->is_number_unsigned() ||
         field->get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()});
    if (!fits || field->get<std::int64_t>() < least)
      throw bad_request(fmt::format("{} must be a whole number, {} or more", name, least), name);
    value = field->get<std::int64_t>();
  }
  void flag(const char* name, bool& value) const {
    const Json* field = find(name);
    if (field == nullptr) return;
    if (!field->is_boolean()) throw bad_request(fmt::format("{} must be true or false", name), name);
    value = field->get<bool>();
  }
  void text(const char* name, std::string& value) const {
    const Json* field = find(name);
    if (field == nullptr) return;
    if (!field->is_string()) throw bad_request(fmt::format("{} must be a string", name), name);
    value = field->get<std::string>();
  }
  /// For what is known and not to be had: only the value that asks for nothing.
  void only(const char* name, const Json& value) const {
    const Json* field = find(name);
    if (field != nullptr && *field != value)
      throw bad_request(fmt::format("{} is not supported: leave it out", name), name);
  }

 private:
  const Json& body_;
};

constexpr std::array kKnown = {"model",
                               "prompt",
                               "max_tokens",
                               "temperature",
                               "top_p",
                               "seed",
                               "stop",
                               "stream",
                               "stream_options",
                               "user",
                               "n",
                               "best_of",
                               "echo",
                               "logprobs",
                               "suffix",
                               "top_k",
                               "min_p",
                               "repetition_penalty",
                               "logit_bias",
                               "presence_penalty",
                               "frequency_penalty",
                               "ignore_eos",
                               "response_format",
                               "grammar"};

std::vector<std::int32_t> read_ids(const Json& list) {
  std::vector<std::int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<std::int32_t>::max())
      throw bad_request("a prompt of token ids must hold whole numbers, 0 or more", "prompt");
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

void read_prompt(const Fields& fields, CompletionRequest& request) {
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) throw bad_request("give a prompt: a string, or a list of token ids", "prompt");
  if (prompt->is_array() && prompt->size() == 1 && !prompt->front().is_number()) prompt = &prompt->front();
  if (prompt->is_string()) {
    request.prompt = prompt->get<std::string>();
  } else if (prompt->is_array()) {
    if (!prompt->empty() && !prompt->front().is_number())
      throw bad_request("one prompt a request: a string, or a list of token ids", "prompt");
    request.prompt = read_ids(*prompt);
  } else {
    throw bad_request("prompt must be a string, or a list of token ids", "prompt");
  }
}

void read_stop(const Fields& fields, std::vector<std::string>& stop) {
  const Json* field = fields.find("stop");
  if (field == nullptr) return;
  const Json list = field->is_array() ? *field : Json::array({*field});
  if (list.size() > kMostStops)
    throw bad_request(fmt::format("stop holds {} strings; at most {} are taken", list.size(), kMostStops),
                      "stop");
  for (const Json& one : list) {
    if (!one.is_string() || one.get_ref<const std::string&>().size() > kLongestStop)
      throw bad_request(
          fmt::format("stop must be a string of at most {} bytes, or a list of those", kLongestStop), "stop");
    stop.push_back(one.get<std::string>());
  }
}

void read_stream(const Fields& fields, CompletionRequest& request) {
  fields.flag("stream", request.stream);
  const Json* options = fields.find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) throw bad_request("stream_options must be an object", "stream_options");
  Fields(*options).flag("include_usage", request.include_usage);
}

/// @param body  of which the schema is read once more, as the order of its properties counts
GrammarRequest read_json_schema(const Json& format, std::string_view body) {
  const auto outer = format.find("json_schema");
  if (outer == format.end() || !outer->is_object() || !outer->contains("schema"))
    throw bad_request("response_format of type json_schema needs json_schema with a schema in it",
                      "response_format");
  bool is_strict = true;
  Fields(*outer).flag("strict", is_strict);
  const OrderedJson schema = parse_ordered_json(body, "the body")["response_format"]["json_schema"]["schema"];
  return {
      .kind = GrammarRequest::Kind::kJsonSchema, .text = schema.dump(), .ignores_unenforceable = !is_strict};
}

GrammarRequest read_grammar(const Fields& fields, std::string_view body) {
  GrammarRequest request;
  if (fields.find("grammar") != nullptr) {
    request.kind = GrammarRequest::Kind::kGbnf;
    fields.text("grammar", request.text);
  }
  const Json* format = fields.find("response_format");
  if (format == nullptr) return request;
  if (!format->is_object()) throw bad_request("response_format must be an object", "response_format");
  std::string type;
  Fields(*format).text("type", type);
  if (type == "text") return request;
  if (request.kind != GrammarRequest::Kind::kNone)
    throw bad_request("give grammar or response_format, not both", "grammar");
  if (type == "json_schema") return read_json_schema(*format, body);
  if (type != "json_object")
    throw bad_request("response_format must be of type text, json_object or json_schema", "response_format");
  return {.kind = GrammarRequest::Kind::kJsonObject, .text = {}};
}

Json parse_body(std::string_view body) {
  try {
    Json json = parse_json(body, "the body");
    if (json.is_object()) return json;
  } catch (const Error& error) {
    throw bad_request(error.what());
  }
  throw bad_request("the body must be a JSON object");
}

}  // namespace

CompletionRequest read_completion_request(std::string_view body) {
  const Json json = parse_body(body);
  for (const auto& [name, value] : json.items())
    if (std::ranges::find(kKnown, name) == kKnown.end())
      throw bad_request(fmt::format("unknown field: {}", printable(name)), printable(name));
  const Fields fields(json);
  CompletionRequest request;
  fields.text("model", request.model);
  read_prompt(fields, request);
  GenerationOptions& options = request.options;
  options.max_tokens = kDefaultMaxTokens;
  fields.integer("max_tokens", 1, options.max_tokens);
  fields.number("temperature", options.sampling.temperature);
  fields.number("top_p", options.sampling.top_p);
  fields.integer("top_k", 0, options.sampling.top_k);
  fields.number("min_p", options.sampling.min_p);
  fields.number("repetition_penalty", options.sampling.repetition_penalty);
  fields.flag("ignore_eos", options.ignore_eos);
  std::int64_t seed = 0;
  fields.integer("seed", std::numeric_limits<std::int64_t>::min(), seed);
  if (fields.find("seed") != nullptr) request.seed = static_cast<std::uint64_t>(seed);
  read_stop(fields, options.stop);
  options.grammar = read_grammar(fields, body);
  read_stream(fields, request);
  std::string user;
  fields.text("user", user);
  fields.only("n", 1);
  fields.only("best_of", 1);
  fields.only("echo", false);
  fields.only("logprobs", 0);
  fields.only("suffix", "");
  fields.only("logit_bias", Json::object());
  fields.only("presence_penalty", 0);
  fields.only("frequency_penalty", 0);
  try {
    validate_sampling_options(options.sampling);
  } catch (const UsageError& error) {
    throw bad_request(error.what());
  }
  return request;
}

}  // namespace fathom
