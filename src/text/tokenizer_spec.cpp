#include "text/tokenizer_spec.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/byte_alphabet.h"
#include "text/in_quotes.h"

namespace fathom {

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

constexpr std::uint64_t kMaxFileBytes = 256U << 20U;
constexpr std::int64_t kMaxIds = std::int64_t{1} << 24;
constexpr std::size_t kMaxSteps = 32;
constexpr std::size_t kMaxAddedTokenBytes = 1024;

// A value of the file and the path to it, which every message names.
struct Node {
  const Json& json;
  std::string where;

  [[nodiscard]] bool has(const char* key) const {
    return json.is_object() && json.contains(key) && !json.at(key).is_null();
  }
  [[nodiscard]] Node at(const char* key) const {
    require(json.is_object(), "{}: expected an object", where);
    require(json.contains(key), "{}: the key \"{}\" is missing", where, key);
    return {json.at(key), where + "." + key};
  }
  [[nodiscard]] std::vector<Node> items() const {
    require(json.is_array(), "{}: expected an array", where);
    std::vector<Node> nodes;
    for (const Json& item : json) nodes.push_back({item, fmt::format("{}[{}]", where, nodes.size())});
    return nodes;
  }
  [[nodiscard]] const std::string& text() const {
    require(json.is_string(), "{}: expected a string", where);
    return json.get_ref<const std::string&>();
  }
  [[nodiscard]] bool flag() const {
    require(json.is_boolean(), "{}: expected true or false", where);
    return json.get<bool>();
  }
  [[nodiscard]] bool flag_or(const char* key, bool otherwise) const {
    return has(key) ? at(key).flag() : otherwise;
  }
  [[nodiscard]] std::int32_t id() const {
    require(json.is_number_integer(), "{}: expected a whole number", where);
    const bool fits = json.is_number_unsigned() && json.get<std::uint64_t>() < std::uint64_t{kMaxIds};
    require(fits, "{}: token ids go from 0 to {}", where, kMaxIds - 1);
    return json.get<std::int32_t>();
  }
  void expect_keys(std::initializer_list<std::string_view> known) const {
    require(json.is_object(), "{}: expected an object", where);
    for (const auto& [key, value] : json.items()) {
      require(std::find(known.begin(), known.end(), key) != known.end(), "{}: the key {} is not supported",
              where, in_quotes(key));
    }
  }
  void expect_absent(const char* key) const {
    require(!has(key), "{}: \"{}\" is not supported, only null", where, key);
  }
};

void read_normalizer(const Node& node, std::vector<UnicodeNormalForm>& forms) {
  static const std::pair<std::string_view, UnicodeNormalForm> kForms[] = {{"NFC", UnicodeNormalForm::kNfc},
                                                                          {"NFD", UnicodeNormalForm::kNfd},
                                                                          {"NFKC", UnicodeNormalForm::kNfkc},
                                                                          {"NFKD", UnicodeNormalForm::kNfkd}};
  const std::string& type = node.at("type").text();
  if (type == "Sequence") {
    node.expect_keys({"type", "normalizers"});
    for (const Node& item : node.at("normalizers").items()) read_normalizer(item, forms);
    return;
  }
  for (const auto& [name, form] : kForms) {
    if (type != name) continue;
    node.expect_keys({"type"});
    require(forms.size() < kMaxSteps, "{}: more than {} steps", node.where, kMaxSteps);
    forms.push_back(form);
    return;
  }
  fail("{}: normalizer type {} is not supported (Sequence, NFC, NFD, NFKC, NFKD are)", node.where,
       in_quotes(type));
}

SplitBehavior read_behavior(const Node& node) {
  static const std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  for (const auto& [name, behavior] : kBehaviors) {
    if (node.text() == name) return behavior;
  }
  fail("{}: behavior {} is not supported", node.where, in_quotes(node.text()));
}

SplitStep read_split(const Node& node) {
  node.expect_keys({"type", "pattern", "behavior", "invert"});
  SplitStep step;
  const Node pattern = node.at("pattern");
  pattern.expect_keys({"Regex", "String"});
  step.literal = pattern.has("String");
  require(step.literal != pattern.has("Regex"), "{}: expected either Regex or String", pattern.where);
  step.pattern = pattern.at(step.literal ? "String" : "Regex").text();
  require(!step.pattern.empty(), "{}: the pattern is empty", pattern.where);
  step.behavior = read_behavior(node.at("behavior"));
  step.invert = node.at("invert").flag();
  return step;
}

// @return whether the step was the mapping to bytes, after which nothing may follow
bool read_pre_tokenizer(const Node& node, std::vector<PreTokenizerStep>& steps) {
  const std::string& type = node.at("type").text();
  require(steps.size() < kMaxSteps, "{}: more than {} steps", node.where, kMaxSteps);
  if (type == "Sequence") {
    node.expect_keys({"type", "pretokenizers"});
    bool ended = false;
    for (const Node& item : node.at("pretokenizers").items()) {
      require(!ended, "{}: steps after ByteLevel are not supported", item.where);
      ended = read_pre_tokenizer(item, steps);
    }
    return ended;
  }
  if (type == "Split") {
    steps.emplace_back(read_split(node));
    return false;
  }
  if (type == "Digits") {
    node.expect_keys({"type", "individual_digits"});
    const bool single = node.flag_or("individual_digits", false);
    steps.emplace_back(SplitStep{.pattern = "\\p{N}",
                                 .behavior = single ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
    return false;
  }
  require(type == "ByteLevel",
          "{}: pre-tokenizer type {} is not supported (Sequence, Split, Digits, ByteLevel are)", node.where,
          in_quotes(type));
  node.expect_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});  // trim_offsets: no ids
  if (node.flag_or("add_prefix_space", true)) steps.emplace_back(PrefixSpaceStep{});
  if (node.flag_or("use_regex", true)) steps.emplace_back(SplitStep{.pattern = kGpt2Pattern});
  return true;
}

void read_template_processing(const Node& node, TokenizerSpec& spec) {
  node.expect_keys({"type", "single", "pair", "special_tokens"});
  bool seen_text = false;
  for (const Node& item : node.at("single").items()) {
    item.expect_keys({"SpecialToken", "Sequence"});
    if (item.has("Sequence")) {
      const Node text = item.at("Sequence").at("id");
      require(!seen_text && text.text() == "A", "{}: expected the sequence A once", item.where);
      seen_text = true;
      continue;
    }
    const std::string& name = item.at("SpecialToken").at("id").text();
    const Node special = node.at("special_tokens").at(name.c_str());
    for (const Node& token : special.at("tokens").items()) {
      (seen_text ? spec.template_suffix : spec.template_prefix).push_back(token.text());
    }
  }
  require(seen_text, "{}.single: the sequence A is missing", node.where);
}

void read_post_processor(const Node& node, TokenizerSpec& spec) {
  const std::string& type = node.at("type").text();
  if (type == "ByteLevel") return;  // moves offsets, no ids
  if (type == "TemplateProcessing") {
    require(spec.template_prefix.empty() && spec.template_suffix.empty(),
            "{}: more than one TemplateProcessing is not supported", node.where);
    return read_template_processing(node, spec);
  }
  require(type == "Sequence",
          "{}: post-processor type {} is not supported (Sequence, ByteLevel, TemplateProcessing are)",
          node.where, in_quotes(type));
  node.expect_keys({"type", "processors"});
  for (const Node& item : node.at("processors").items()) read_post_processor(item, spec);
}

void read_decoder(const Node& node) {
  const std::string& type = node.at("type").text();
  require(type == "ByteLevel", "{}: decoder type {} is not supported (ByteLevel is)", node.where,
          in_quotes(type));
}

void read_vocabulary(const Node& node, TokenizerSpec& spec) {
  require(node.json.is_object(), "{}: expected an object", node.where);
  for (const auto& [token, id_json] : node.json.items()) {
    require(!token.empty(), "{}: a token is empty", node.where);
    const std::int32_t id = Node{id_json, node.where}.id();
    if (static_cast<std::size_t>(id) >= spec.tokens.size()) {
      spec.tokens.resize(static_cast<std::size_t>(id) + 1);
    }
    std::string& slot = spec.tokens[static_cast<std::size_t>(id)];
    require(slot.empty(), "{}: the id {} is given to two tokens", node.where, id);
    slot = token;
  }
  spec.model_tokens = spec.tokens.size();
}

Merge read_merge(const Json& json, const std::string& where) {
  if (json.is_string()) {
    const std::string& both = json.get_ref<const std::string&>();
    const std::size_t space = both.find(' ');
    require(space != std::string::npos && both.find(' ', space + 1) == std::string::npos,
            "{}: expected two tokens and one space between them", where);
    return {both.substr(0, space), both.substr(space + 1)};
  }
  require(json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_string(),
          "{}: expected two tokens", where);
  return {json[0].get<std::string>(), json[1].get<std::string>()};
}

void read_model(const Node& node, TokenizerSpec& spec) {
  node.expect_keys({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                    "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (node.has("type")) {
    const std::string& type = node.at("type").text();
    require(type == "BPE", "{}.type: {} is not supported, only BPE", node.where, in_quotes(type));
  }
  if (node.has("dropout")) {
    const Json& dropout = node.at("dropout").json;
    require(dropout.is_number() && dropout.get<double>() == 0.0,
            "{}.dropout: not supported, only null (encoding is deterministic)", node.where);
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!node.has(key)) continue;
    require(node.at(key).text().empty(), "{}.{}: not supported by byte-level BPE, only null", node.where,
            key);
  }
  if (node.has("unk_token")) spec.unknown_token = node.at("unk_token").text();
  spec.fuse_unknown = node.flag_or("fuse_unk", false);
  spec.ignore_merges = node.flag_or("ignore_merges", false);
  read_vocabulary(node.at("vocab"), spec);
  const Node merges = node.at("merges");
  require(merges.json.is_array(), "{}: expected an array", merges.where);
  spec.merges.reserve(merges.json.size());
  for (const Json& merge : merges.json) {
    spec.merges.push_back(read_merge(merge, fmt::format("{}[{}]", merges.where, spec.merges.size())));
  }
  if (node.flag_or("byte_fallback", false)) {
    // Only bytes without a token fall back; when each has one the flag says nothing.
    std::set<std::string_view> have(spec.tokens.begin(), spec.tokens.end());
    for (int byte = 0; byte < 256; ++byte) {
      const std::string spelled = spell_bytes(std::string(1, static_cast<char>(byte)));
      require(have.contains(spelled), "{}.byte_fallback: not supported by byte-level BPE, only false",
              node.where);
    }
  }
}

AddedToken read_added_token(const Node& node) {
  node.expect_keys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.id = node.at("id").id();
  token.content = node.at("content").text();
  require(!token.content.empty() && token.content.size() <= kMaxAddedTokenBytes,
          "{}.content: expected 1 to {} bytes", node.where, kMaxAddedTokenBytes);
  token.special = node.at("special").flag();
  token.normalized = node.at("normalized").flag();
  token.left_strip = node.at("lstrip").flag();
  token.right_strip = node.at("rstrip").flag();
  token.single_word = node.at("single_word").flag();
  return token;
}

// The library numbers added tokens itself: by the vocabulary where it has them, else onwards from its end.
// A file whose ids say otherwise would give other ids there than here.
void read_added_tokens(const Node& node, TokenizerSpec& spec) {
  std::set<std::string> contents;
  std::size_t in_vocabulary = 0;
  for (const std::string& token : spec.tokens) in_vocabulary += token.empty() ? 0U : 1U;
  for (const Node& item : node.items()) {
    AddedToken token = read_added_token(item);
    require(contents.insert(token.content).second, "{}: {} is added twice", item.where,
            in_quotes(token.content));
    const auto id = static_cast<std::size_t>(token.id);
    if (id < spec.tokens.size()) {
      require(spec.tokens[id] == token.content, "{}: the id {} belongs to {}, not to {}", item.where,
              token.id, in_quotes(spec.tokens[id]), in_quotes(token.content));
    } else {
      require(id == spec.tokens.size() && in_vocabulary == spec.tokens.size(),
              "{}: {} has the id {}, but the next free one is {}", item.where, in_quotes(token.content),
              token.id, in_vocabulary);
      spec.tokens.push_back(token.content);
      ++in_vocabulary;
    }
    spec.added_tokens.push_back(std::move(token));
  }
}

std::optional<std::string> read_config_token(const Node& node, const char* key) {
  if (!node.has(key)) return std::nullopt;
  const Node value = node.at(key);
  return value.json.is_object() ? value.at("content").text() : value.text();
}

// A string, or a list of named templates, of which "default" and "tool_use" are those for chats.
void read_chat_templates(const Node& node, TokenizerSpec& spec) {
  if (!node.has("chat_template")) return;
  const Node value = node.at("chat_template");
  if (!value.json.is_array()) {
    spec.chat_template = value.text();
    return;
  }
  for (const Node& item : value.items()) {
    const std::string& name = item.at("name").text();
    if (name == "default") spec.chat_template = item.at("template").text();
    if (name == "tool_use") spec.tool_chat_template = item.at("template").text();
  }
}

void read_config(const Node& node, TokenizerSpec& spec) {
  require(node.json.is_object(), "{}: expected an object", node.where);
  spec.bos_token = read_config_token(node, "bos_token");
  spec.eos_token = read_config_token(node, "eos_token");
  for (const char* name : {"pad_token", "unk_token", "sep_token", "cls_token", "mask_token"})
    if (const auto token = read_config_token(node, name)) spec.named_tokens.emplace_back(name, *token);
  read_chat_templates(node, spec);
  // As `transformers` does: where the config speaks of either, it replaces the file's own template.
  if (!node.has("add_bos_token") && !node.has("add_eos_token")) return;
  spec.template_prefix.clear();
  spec.template_suffix.clear();
  if (node.flag_or("add_bos_token", false)) {
    require(spec.bos_token.has_value(), "{}.add_bos_token: true, but there is no bos_token", node.where);
    spec.template_prefix.push_back(*spec.bos_token);
  }
  if (node.flag_or("add_eos_token", false)) {
    require(spec.eos_token.has_value(), "{}.add_eos_token: true, but there is no eos_token", node.where);
    spec.template_suffix.push_back(*spec.eos_token);
  }
}

}  // namespace

TokenizerSpec parse_tokenizer_spec(std::string_view tokenizer_text,
                                   const std::optional<std::string>& config_text, std::string_view name) {
  TokenizerSpec spec;
  spec.name = name;
  const Json json = parse_json(tokenizer_text, name);
  const Node root{json, spec.name};
  root.expect_keys({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                    "post_processor", "decoder", "model"});
  root.expect_absent("truncation");
  root.expect_absent("padding");
  if (root.has("normalizer")) read_normalizer(root.at("normalizer"), spec.normalizers);
  require(root.has("pre_tokenizer") && read_pre_tokenizer(root.at("pre_tokenizer"), spec.pre_tokenizer),
          "{}.pre_tokenizer: there is no ByteLevel step; only byte-level BPE is supported", name);
  if (root.has("post_processor")) read_post_processor(root.at("post_processor"), spec);
  read_decoder(root.at("decoder"));
  read_model(root.at("model"), spec);
  if (root.has("added_tokens")) read_added_tokens(root.at("added_tokens"), spec);
  require(!spec.tokens.empty(), "{}.model.vocab: there is no token", name);
  if (config_text) {
    const std::string config_name =
        (std::filesystem::path(name).parent_path() / "tokenizer_config.json").string();
    const Json config = parse_json(*config_text, config_name);
    read_config({config, config_name}, spec);
  }
  return spec;
}

TokenizerSpec read_tokenizer_spec(const std::filesystem::path& folder_or_file) {
  const bool folder = std::filesystem::is_directory(folder_or_file);
  const std::filesystem::path file = folder ? folder_or_file / "tokenizer.json" : folder_or_file;
  const std::filesystem::path config = file.parent_path() / "tokenizer_config.json";
  std::optional<std::string> config_text;
  if (std::filesystem::exists(config)) config_text = read_text_file(config, kMaxFileBytes);
  TokenizerSpec spec = parse_tokenizer_spec(read_text_file(file, kMaxFileBytes), config_text, file.string());
  const auto replace = [&](const std::filesystem::path& name, std::string& chat_template) {
    const std::filesystem::path path = file.parent_path() / name;
    if (std::filesystem::exists(path)) chat_template = read_text_file(path, kMaxFileBytes);
  };
  replace("chat_template.jinja", spec.chat_template);
  replace(std::filesystem::path("additional_chat_templates") / "tool_use.jinja", spec.tool_chat_template);
  return spec;
}

}  // namespace fathom
