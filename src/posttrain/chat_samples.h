#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "posttrain/conversation_json.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"
#include "train/data_manifest.h"
#include "train/sample_set.h"

namespace fathom {

/// A chat's tokens, of which those are learned that a part of an answer's text stands in, as
/// `transformers.apply_chat_template(..., return_assistant_tokens_mask=True)` has them.
/// Throws `Error` naming the line where the tokenizer changes the text, so that places in it mean nothing.
SampleSet::Sample chat_sample(const Tokenizer& tokenizer, const ChatFormat& format, const ChatRecord& chat,
                              std::string_view where);

struct ChatDataOptions {
  std::vector<std::filesystem::path> files;  // JSON lines, see `chat_record`
  std::filesystem::path tokenizer;           // folder of the model
  std::string chat_template;                 // see `named_chat_source`
  std::filesystem::path output;              // the data folder to make
  double held_out = 0.02;                    // part of the chats, chosen by their texts
};

struct ChatDataProgress {
  std::int64_t chats = 0;
  std::int64_t tokens = 0;
  std::int64_t learned = 0;  // tokens
};

/// Makes a data folder of chats (train/sample_set.h), with the model's tokenizer and the chat template that
/// was taken, so that what is trained on it knows both. The same chats in the same order give the same bytes.
/// A chat that stood before is left out. Throws `Error` naming the line that is no chat, and where there is
/// none to train on.
DataManifest prepare_chats(const ChatDataOptions& options,
                           const std::function<void(const ChatDataProgress&)>& progress);

}  // namespace fathom
