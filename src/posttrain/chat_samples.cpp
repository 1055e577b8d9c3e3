#include "posttrain/chat_samples.h"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/ordered_json.h"
#include "posttrain/learned_text.h"
#include "posttrain/line_file.h"
#include "posttrain/named_template.h"
#include "train/document_tokens.h"
#include "train/prepare.h"

namespace fathom {
namespace {

constexpr std::uint64_t kLargestTokenizer = 256U << 20U;

/// The folder's tokenizer_config.json with these chat templates.
void put_templates(const std::filesystem::path& folder, const ChatSource& source) {
  const std::filesystem::path file = folder / "tokenizer_config.json";
  OrderedJson config = OrderedJson::object();
  if (std::filesystem::is_regular_file(file))
    config = OrderedJson::parse(read_text_file(file, kLargestTokenizer));  // has been read as the tokenizer's
  if (source.tool_template.empty()) {
    config["chat_template"] = source.chat_template;
  } else {
    config["chat_template"] = {{{"name", "default"}, {"template", source.chat_template}},
                               {{"name", "tool_use"}, {"template", source.tool_template}}};
  }
  write_file_atomically(file, config.dump(2) + "\n");
}

}  // namespace

SampleSet::Sample chat_sample(const Tokenizer& tokenizer, const ChatFormat& format, const ChatRecord& chat,
                              std::string_view where) {
  const LearnedText learned = learned_text(format, chat, where);
  // The template has said where a text begins: the tokenizer is not to say it again.
  SampleSet::Sample sample{tokenizer.encode(learned.text, false), {}};
  std::size_t begin = 0;
  auto span = learned.spans.begin();
  for (const std::int32_t token : sample.tokens) {
    const std::string_view bytes = tokenizer.token_bytes(token);
    const std::size_t end = begin + bytes.size();
    require(std::string_view(learned.text).substr(begin, bytes.size()) == bytes,
            "{}: the tokenizer changes the text behind {} bytes, so that answers cannot be found among its "
            "tokens",
            where, begin);
    while (span != learned.spans.end() && span->second <= begin) ++span;
    sample.learned.push_back(span != learned.spans.end() && span->first < end ? 1 : 0);
    begin = end;
  }
  require(begin == learned.text.size(),
          "{}: the tokenizer leaves out the text behind {} bytes, so that answers cannot be found among its "
          "tokens",
          where, begin);
  return sample;
}

DataManifest prepare_chats(const ChatDataOptions& options,
                           const std::function<void(const ChatDataProgress&)>& progress) {
  require(!is_data_folder(options.output),
          "{}: holds prepared data already: choose another folder, or remove it", options.output.string());
  install_tokenizer(options.tokenizer, options.output);
  // The model's folder may have templates in files of their own, which a data folder has not.
  const Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
  const ChatSource source = named_chat_source(tokenizer, options.chat_template);
  const ChatFormat format(source);
  put_templates(options.output, source);

  DataManifest manifest;
  manifest.vocab_size = tokenizer.vocab_size();
  manifest.tokenizer_hash = checksum(read_text_file(options.output / "tokenizer.json", kLargestTokenizer));
  manifest.bos_token_id = tokenizer.bos().value_or(-1);
  manifest.eos_token_id = tokenizer.eos().value_or(-1);
  manifest.sources.push_back({.name = "chats"});
  SampleWriter writer(options.output, manifest);
  ChatDataProgress done;
  std::unordered_set<std::uint64_t> seen;
  for (const std::filesystem::path& file : options.files)
    for_each_line(file, [&](std::string_view line, const std::string& where) {
      const ChatRecord chat = chat_record(parse_ordered_json(line, where), where);
      const SampleSet::Sample sample = chat_sample(tokenizer, format, chat, where);
      const std::uint64_t hash = checksum(std::as_bytes(std::span(sample.tokens)));
      if (!seen.insert(hash).second) {
        ++manifest.sources.front().exact_duplicates;
        return;
      }
      writer.add(is_held_out(hash, options.held_out), sample, static_cast<std::int64_t>(line.size()));
      ++done.chats;
      done.tokens += static_cast<std::int64_t>(sample.tokens.size());
      done.learned += std::ranges::count(sample.learned, 1);
      progress(done);
    });
  writer.finish();
  require(manifest.train.documents > 0, "{}: no chat to train on", options.files.front().string());
  save_data_manifest(manifest, options.output);
  return manifest;
}

}  // namespace fathom
