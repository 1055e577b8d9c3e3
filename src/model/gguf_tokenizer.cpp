#include "model/gguf_tokenizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "model/gguf_pre_tokenizers.h"
#include "text/tokenizer_writer.h"

namespace fathom {
namespace {

// `tokenizer.ggml.token_type`.
constexpr std::int64_t kControl = 3;
constexpr std::int64_t kUserDefined = 4;
constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kUnused = 5;

constexpr const char* kWholeTokenizer = "tokenizer.huggingface.json";
constexpr const char* kToolTemplate = "tokenizer.chat_template.tool_use";

// Tokens that chat templates know by name, and the keys of their ids.
constexpr std::array<std::pair<const char*, const char*>, 5> kNamedTokens = {
    {{"pad_token", "tokenizer.ggml.padding_token_id"},
     {"unk_token", "tokenizer.ggml.unknown_token_id"},
     {"sep_token", "tokenizer.ggml.seperator_token_id"},  // spelled so in files
     {"cls_token", "tokenizer.ggml.cls_token_id"},
     {"mask_token", "tokenizer.ggml.mask_token_id"}}};

/// The keys of a tokenizer, with the file's name for messages.
class TokenizerKeys {
 public:
  explicit TokenizerKeys(const GgufFile& file) : metadata_(file.metadata()), where_(file.path().string()) {}

  [[nodiscard]] const std::string* find_string(std::string_view key) const {
    const GgufValue* value = metadata_.find(key);
    if (value == nullptr) return nullptr;
    const auto* text = std::get_if<std::string>(value);
    if (text == nullptr) reject(key, "a string");
    return text;
  }

  [[nodiscard]] const std::vector<std::string>& strings(std::string_view key) const {
    const GgufValue* value = metadata_.find(key);
    const auto* array = value == nullptr ? nullptr : std::get_if<GgufArray>(value);
    const auto* texts = array == nullptr ? nullptr : std::get_if<std::vector<std::string>>(&array->values);
    if (texts == nullptr) reject(key, "an array of strings");
    return *texts;
  }

  /// Empty when there is none.
  [[nodiscard]] std::vector<std::int64_t> integers(std::string_view key) const {
    const GgufValue* value = metadata_.find(key);
    if (value == nullptr) return {};
    auto integers = integers_of(*value);
    if (!integers) reject(key, "an array of integers");
    return *integers;
  }

  [[nodiscard]] bool flag(std::string_view key) const {
    const GgufValue* value = metadata_.find(key);
    if (value == nullptr) return false;
    if (!std::holds_alternative<bool>(*value)) reject(key, "a bool");
    return std::get<bool>(*value);
  }

  [[nodiscard]] std::optional<std::string> token(std::string_view key,
                                                 const std::vector<std::string>& tokens) const {
    const GgufValue* value = metadata_.find(key);
    if (value == nullptr) return std::nullopt;
    const auto id = integer_of(*value);
    if (!id || *id < 0 || std::cmp_greater_equal(*id, tokens.size()))
      reject(key, fmt::format("the id of one of {} tokens", tokens.size()));
    return tokens[static_cast<std::size_t>(*id)];
  }

  /// As `token`, of a key that only chat templates need: an id that is no token's is passed over.
  [[nodiscard]] std::optional<std::string> token_if_known(std::string_view key,
                                                          const std::vector<std::string>& tokens) const {
    const GgufValue* value = metadata_.find(key);
    const auto id = value == nullptr ? std::nullopt : integer_of(*value);
    if (!id || *id < 0 || std::cmp_greater_equal(*id, tokens.size())) return std::nullopt;
    const std::string& token = tokens[static_cast<std::size_t>(*id)];
    return token.empty() ? std::nullopt : std::optional(token);
  }

  [[noreturn]] void reject(std::string_view key, std::string_view expected) const {
    const GgufValue* value = metadata_.find(key);
    fail("{}: {} is {}, expected {}", where_, key, value == nullptr ? "absent" : gguf_value_text(*value),
         expected);
  }

  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  const GgufMetadata& metadata_;
  std::string where_;
};

/// Names that stand for ids the original tokenizer does not have; old converters call them user-defined.
bool is_padding(std::string_view token) {
  constexpr std::string_view kBegin = "[PAD";
  return token.starts_with(kBegin) && token.ends_with(']') && token.size() > kBegin.size() + 1 &&
         std::ranges::all_of(token.substr(kBegin.size(), token.size() - kBegin.size() - 1),
                             [](char c) { return c >= '0' && c <= '9'; });
}

void read_tokens(const TokenizerKeys& keys, TokenizerSpec& spec) {
  constexpr const char* kTypes = "tokenizer.ggml.token_type";
  spec.tokens = keys.strings("tokenizer.ggml.tokens");
  const std::vector<std::int64_t> types = keys.integers(kTypes);
  if (!types.empty() && types.size() != spec.tokens.size())
    keys.reject(kTypes, fmt::format("{} of them, as many as tokens", spec.tokens.size()));
  std::set<std::string_view> seen;
  std::size_t used = 0;  // ids up to the last that stands for something
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    const std::string& token = spec.tokens[id];
    if (token.empty()) continue;
    if (!seen.insert(token).second)
      fail("{}: tokenizer.ggml.tokens[{}]: the token \"{}\" is there twice", keys.where(), id,
           printable(token));
    const std::int64_t type = types.empty() ? kNormal : types[id];
    if (type == kUnused || (type == kUserDefined && is_padding(token))) continue;
    used = id + 1;
    if (type != kControl && type != kUserDefined) {
      spec.model_tokens = used;
      continue;
    }
    AddedToken added;
    added.id = static_cast<std::int32_t>(id);
    added.content = token;
    added.special = type == kControl;
    spec.added_tokens.push_back(std::move(added));
  }
  seen.clear();
  spec.tokens.resize(used);
}

void read_merges(const TokenizerKeys& keys, TokenizerSpec& spec) {
  const std::vector<std::string>& merges = keys.strings("tokenizer.ggml.merges");
  spec.merges.reserve(merges.size());
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ', 1);
    if (merge.empty() || space == std::string::npos || space + 1 == merge.size())
      fail("{}: tokenizer.ggml.merges[{}] is \"{}\", expected two tokens and a space between them",
           keys.where(), spec.merges.size(), printable(merge));
    spec.merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
  }
}

/// Whether the converter of llama.cpp takes a token for a control token although the tokenizer does not.
bool looks_special(std::string_view token) {
  return (token.starts_with("<|") && token.ends_with("|>")) ||
         (token.starts_with("<｜") && token.ends_with("｜>"));
}

std::int64_t id_of(const TokenizerSpec& spec, const std::string& token) {
  const auto found = std::ranges::find(spec.tokens, token);
  require(found != spec.tokens.end(), "{}: the token \"{}\" is not in the vocabulary", spec.name,
          printable(token));
  return found - spec.tokens.begin();
}

}  // namespace

TokenizerSpec gguf_tokenizer_spec(const GgufFile& file) {
  const TokenizerKeys keys(file);
  TokenizerSpec spec;
  if (const std::string* whole = keys.find_string(kWholeTokenizer)) {
    spec = parse_tokenizer_spec(*whole, std::nullopt, fmt::format("{}: {}", keys.where(), kWholeTokenizer));
  } else {
    spec.name = keys.where();
    const std::string* model = keys.find_string("tokenizer.ggml.model");
    if (model == nullptr || *model != "gpt2")
      keys.reject("tokenizer.ggml.model", "\"gpt2\" (byte-level BPE)");
    const std::string* pre = keys.find_string("tokenizer.ggml.pre");
    auto steps = gguf_pre_tokenizer(pre == nullptr ? "" : *pre);
    if (!steps) keys.reject("tokenizer.ggml.pre", "one of " + gguf_pre_tokenizer_names());
    spec.pre_tokenizer = std::move(*steps);
    read_tokens(keys, spec);
    read_merges(keys, spec);
  }
  spec.bos_token = keys.token("tokenizer.ggml.bos_token_id", spec.tokens);
  spec.eos_token = keys.token("tokenizer.ggml.eos_token_id", spec.tokens);
  spec.template_prefix.clear();
  spec.template_suffix.clear();
  if (keys.flag("tokenizer.ggml.add_bos_token") && spec.bos_token)
    spec.template_prefix.push_back(*spec.bos_token);
  if (keys.flag("tokenizer.ggml.add_eos_token") && spec.eos_token)
    spec.template_suffix.push_back(*spec.eos_token);
  for (const auto& [name, key] : kNamedTokens)
    if (const auto token = keys.token_if_known(key, spec.tokens))
      spec.named_tokens.emplace_back(name, *token);
  if (const std::string* chat = keys.find_string("tokenizer.chat_template")) spec.chat_template = *chat;
  if (const std::string* chat = keys.find_string(kToolTemplate)) spec.tool_chat_template = *chat;
  return spec;
}

void add_gguf_tokenizer(const TokenizerSpec& spec, std::int64_t vocab_size, GgufMetadata& metadata) {
  require(std::cmp_less_equal(spec.tokens.size(), vocab_size),
          "{}: the tokenizer has {} tokens, the model an embedding for {}", spec.name, spec.tokens.size(),
          vocab_size);
  const auto expressible = [](const std::vector<std::string>& parts,
                              const std::optional<std::string>& token) {
    return parts.empty() || (token && parts.size() == 1 && parts.front() == *token);
  };
  require(
      expressible(spec.template_prefix, spec.bos_token) && expressible(spec.template_suffix, spec.eos_token),
      "{}: puts other tokens around a text than BOS and EOS, which GGUF cannot say", spec.name);
  std::vector<std::string> tokens = spec.tokens;
  std::vector<std::int32_t> types(tokens.size(), kNormal);
  for (std::size_t id = spec.model_tokens; id < types.size(); ++id) types[id] = kUnused;
  for (const AddedToken& added : spec.added_tokens)
    types[static_cast<std::size_t>(added.id)] =
        static_cast<std::int32_t>(added.special || looks_special(added.content) ? kControl : kUserDefined);
  tokens.resize(static_cast<std::size_t>(vocab_size));
  types.resize(tokens.size(), kUnused);
  for (std::size_t id = 0; id < tokens.size(); ++id)
    if (tokens[id].empty()) {
      tokens[id] = fmt::format("[PAD{}]", id);
      types[id] = kUnused;
    }
  std::vector<std::string> merges;
  merges.reserve(spec.merges.size());
  for (const Merge& merge : spec.merges) merges.push_back(merge.left + " " + merge.right);

  const bool plain = spec.normalizers.empty() && !spec.ignore_merges && !spec.unknown_token;
  const auto pre = plain ? gguf_pre_tokenizer_name(spec.pre_tokenizer) : std::nullopt;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", std::string(pre.value_or("default")));
  metadata.set("tokenizer.ggml.tokens", GgufArray{std::move(tokens)});
  metadata.set("tokenizer.ggml.token_type", GgufArray{std::move(types)});
  metadata.set("tokenizer.ggml.merges", GgufArray{std::move(merges)});
  if (spec.bos_token)
    metadata.set("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(id_of(spec, *spec.bos_token)));
  if (spec.eos_token)
    metadata.set("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(id_of(spec, *spec.eos_token)));
  metadata.set("tokenizer.ggml.add_bos_token", !spec.template_prefix.empty());
  metadata.set("tokenizer.ggml.add_eos_token", !spec.template_suffix.empty());
  for (const auto& [name, token] : spec.named_tokens)
    for (const auto& [known, key] : kNamedTokens)
      if (name == known && std::ranges::find(spec.tokens, token) != spec.tokens.end())
        metadata.set(key, static_cast<std::uint32_t>(id_of(spec, token)));
  if (!spec.chat_template.empty()) metadata.set("tokenizer.chat_template", spec.chat_template);
  if (!spec.tool_chat_template.empty()) metadata.set(kToolTemplate, spec.tool_chat_template);
  if (!pre) metadata.set(kWholeTokenizer, tokenizer_json_text(spec));
}

}  // namespace fathom
