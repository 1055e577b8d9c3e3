#include "text/tokenizer_writer.h"

#include <nlohmann/json.hpp>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/in_quotes.h"

namespace fathom {
namespace {

const char* name_of(SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::kRemoved:
      return "Removed";
    case SplitBehavior::kIsolated:
      return "Isolated";
    case SplitBehavior::kMergedWithPrevious:
      return "MergedWithPrevious";
    case SplitBehavior::kMergedWithNext:
      return "MergedWithNext";
    case SplitBehavior::kContiguous:
      return "Contiguous";
  }
  return "";
}

const char* name_of(UnicodeNormalForm form) {
  switch (form) {
    case UnicodeNormalForm::kNfc:
      return "NFC";
    case UnicodeNormalForm::kNfd:
      return "NFD";
    case UnicodeNormalForm::kNfkc:
      return "NFKC";
    case UnicodeNormalForm::kNfkd:
      return "NFKD";
  }
  return "";
}

OrderedJson byte_level(bool add_prefix_space) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", false}};
}

OrderedJson normalizer(const TokenizerSpec& spec) {
  if (spec.normalizers.empty()) return nullptr;
  OrderedJson forms = OrderedJson::array();
  for (const UnicodeNormalForm form : spec.normalizers) forms.push_back({{"type", name_of(form)}});
  return {{"type", "Sequence"}, {"normalizers", forms}};
}

// A prefix space in the middle is a ByteLevel step in the middle, which the format does not have.
OrderedJson pre_tokenizer(const TokenizerSpec& spec) {
  OrderedJson steps = OrderedJson::array();
  bool prefix_space = false;
  for (const PreTokenizerStep& step : spec.pre_tokenizer) {
    require(!prefix_space, "{}: a step after a prefix space cannot be written", spec.name);
    if (std::holds_alternative<PrefixSpaceStep>(step)) {
      prefix_space = true;
      continue;
    }
    const auto& split = std::get<SplitStep>(step);
    steps.push_back({{"type", "Split"},
                     {"pattern", {{split.literal ? "String" : "Regex", split.pattern}}},
                     {"behavior", name_of(split.behavior)},
                     {"invert", split.invert}});
  }
  steps.push_back(byte_level(prefix_space));
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

OrderedJson added_tokens(const TokenizerSpec& spec) {
  OrderedJson tokens = OrderedJson::array();
  for (const AddedToken& token : spec.added_tokens) {
    tokens.push_back({{"id", token.id},
                      {"content", token.content},
                      {"single_word", token.single_word},
                      {"lstrip", token.left_strip},
                      {"rstrip", token.right_strip},
                      {"normalized", token.normalized},
                      {"special", token.special}});
  }
  return tokens;
}

std::int64_t id_of(const TokenizerSpec& spec, const std::string& content) {
  for (const AddedToken& token : spec.added_tokens) {
    if (token.content == content) return token.id;
  }
  fail("{}: the template's token {} is not an added token", spec.name, in_quotes(content));
}

OrderedJson post_processor(const TokenizerSpec& spec) {
  if (spec.template_prefix.empty() && spec.template_suffix.empty()) return nullptr;
  OrderedJson special = OrderedJson::object();
  const auto part = [&](const std::string& content, int type) -> OrderedJson {
    special[content] = {{"id", content},
                        {"ids", OrderedJson::array({id_of(spec, content)})},
                        {"tokens", OrderedJson::array({content})}};
    return {{"SpecialToken", {{"id", content}, {"type_id", type}}}};
  };
  const auto append_text = [&](OrderedJson& parts, const char* text, int type) {
    for (const std::string& token : spec.template_prefix) parts.push_back(part(token, type));
    parts.push_back({{"Sequence", {{"id", text}, {"type_id", type}}}});
    for (const std::string& token : spec.template_suffix) parts.push_back(part(token, type));
  };
  OrderedJson single = OrderedJson::array();
  append_text(single, "A", 0);
  OrderedJson pair = single;
  append_text(pair, "B", 1);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

OrderedJson model(const TokenizerSpec& spec) {
  OrderedJson merges = OrderedJson::array();
  for (const Merge& merge : spec.merges) merges.push_back(OrderedJson::array({merge.left, merge.right}));
  // Appended to the object's own list: its operator[] looks through all keys there are.
  OrderedJson vocabulary = OrderedJson::object();
  std::vector<OrderedJson::object_t::value_type>& entries = vocabulary.get_ref<OrderedJson::object_t&>();
  for (std::size_t id = 0; id < spec.model_tokens; ++id) {
    if (!spec.tokens[id].empty()) entries.emplace_back(spec.tokens[id], id);
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", spec.unknown_token ? OrderedJson(*spec.unknown_token) : OrderedJson(nullptr)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", spec.fuse_unknown},
          {"byte_fallback", false},
          {"ignore_merges", spec.ignore_merges},
          {"vocab", vocabulary},
          {"merges", merges}};
}

}  // namespace

std::string tokenizer_json_text(const TokenizerSpec& spec) {
  const OrderedJson json = {{"version", "1.0"},
                            {"truncation", nullptr},
                            {"padding", nullptr},
                            {"added_tokens", added_tokens(spec)},
                            {"normalizer", normalizer(spec)},
                            {"pre_tokenizer", pre_tokenizer(spec)},
                            {"post_processor", post_processor(spec)},
                            {"decoder", byte_level(false)},
                            {"model", model(spec)}};
  return json.dump() + "\n";
}

std::string tokenizer_config_json_text(const TokenizerSpec& spec) {
  const auto adds = [](const std::vector<std::string>& parts, const std::optional<std::string>& token) {
    return token.has_value() && parts == std::vector<std::string>{*token};
  };
  OrderedJson json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                      {"clean_up_tokenization_spaces", false}};
  if (spec.bos_token) json["bos_token"] = *spec.bos_token;
  if (spec.eos_token) json["eos_token"] = *spec.eos_token;
  // Said only where these two say all of the template.
  const bool add_bos = adds(spec.template_prefix, spec.bos_token);
  const bool add_eos = adds(spec.template_suffix, spec.eos_token);
  if ((add_bos || spec.template_prefix.empty()) && (add_eos || spec.template_suffix.empty())) {
    json["add_bos_token"] = add_bos;
    json["add_eos_token"] = add_eos;
  }
  for (const auto& [name, token] : spec.named_tokens) json[name] = token;
  if (!spec.tool_chat_template.empty()) {
    json["chat_template"] =
        OrderedJson::array({{{"name", "default"}, {"template", spec.chat_template}},
                            {{"name", "tool_use"}, {"template", spec.tool_chat_template}}});
  } else if (!spec.chat_template.empty()) {
    json["chat_template"] = spec.chat_template;
  }
  return json.dump(2) + "\n";
}

void write_tokenizer(const TokenizerSpec& spec, const std::filesystem::path& folder) {
  create_folders(folder);
  write_file_atomically(folder / "tokenizer_config.json", tokenizer_config_json_text(spec));
  write_file_atomically(folder / "tokenizer.json", tokenizer_json_text(spec));
}

}  // namespace fathom
