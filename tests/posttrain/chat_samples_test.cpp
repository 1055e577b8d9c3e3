#include "posttrain/chat_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "posttrain/named_template.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer_writer.h"

namespace fathom {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

/// Of bytes and an end of text.
Tokenizer byte_tokenizer() {
  BpeTrainer trainer({.vocab_size = 260});
  trainer.add("ab");
  return Tokenizer(trainer.finish());
}

/// What is learned of a chat, each run of learned tokens in brackets.
std::string marked(const Tokenizer& tokenizer, const ChatFormat& format, const char* line) {
  const SampleSet::Sample sample =
      chat_sample(tokenizer, format, chat_record(OrderedJson::parse(line), "f:1"), "f:1");
  std::string text;
  bool is_learned = false;
  for (std::size_t i = 0; i <= sample.tokens.size(); ++i) {
    const bool is_next = i < sample.tokens.size() && sample.learned[i] != 0;
    if (is_next != is_learned) text += is_next ? "[" : "]";
    is_learned = is_next;
    if (i < sample.tokens.size()) text += tokenizer.token_bytes(sample.tokens[i]);
  }
  return text;
}

class ChatSamplesTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  Tokenizer tokenizer_ = byte_tokenizer();
  std::string bos_ = std::string(tokenizer_.token_bytes(tokenizer_.bos().value()));
  std::string eos_ = std::string(tokenizer_.token_bytes(tokenizer_.eos().value()));

  ChatFormat named(std::string_view name) const { return ChatFormat(named_chat_source(tokenizer_, name)); }
  ChatFormat format(const std::string& source) const {
    write_file_atomically(folder_.path() / "template.jinja", source);
    return named((folder_.path() / "template.jinja").string());
  }
};

constexpr const char* kChat = R"({"messages": [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"},
    {"role": "user", "content": "1+2"}, {"role": "assistant", "content": "3"}]})";

TEST_F(ChatSamplesTest, OfThePlainTemplateAnswersAreLearnedWithTheirEnds) {
  EXPECT_EQ(
      marked(tokenizer_, named("plain"), kChat),
      bos_ + "Be brief.\n\nQuestion: 1+1\nAnswer:[ 2" + eos_ + "]\n\nQuestion: 1+2\nAnswer:[ 3" + eos_ + "]");
}

TEST_F(ChatSamplesTest, ThePlainTemplateAsksAsItTeaches) {
  ChatTemplateOptions asks;
  asks.add_generation_prompt = true;
  EXPECT_EQ(named("plain").render(OrderedJson::parse(R"([{"role": "user", "content": "1+1"}])"), asks).text,
            bos_ + "Question: 1+1\nAnswer:");
}

TEST_F(ChatSamplesTest, LearnsTheTokensThatTransformersSays) {
  // See make_chat_mask_goldens.py.
  const Json goldens = read_json_file(test::source_folder() / "tests/posttrain/goldens/chat_masks.json");
  const Tokenizer tokenizer = Tokenizer::load(test::source_folder() / "tests/text/goldens/small");
  std::size_t learned = 0;
  for (const Json& golden : goldens) {
    write_file_atomically(folder_.path() / "template.jinja", golden["template"].get<std::string>());
    const ChatFormat format(named_chat_source(tokenizer, (folder_.path() / "template.jinja").string()));
    const ChatRecord chat{OrderedJson::parse(golden["messages"].dump()), {}};
    const SampleSet::Sample sample = chat_sample(tokenizer, format, chat, "golden");
    EXPECT_EQ(sample.tokens, golden["tokens"].get<std::vector<std::int32_t>>()) << golden["name"];
    EXPECT_EQ(sample.learned, golden["learned"].get<std::vector<std::int32_t>>()) << golden.dump();
    learned += static_cast<std::size_t>(std::ranges::count(sample.learned, 1));
  }
  EXPECT_GT(learned, 200U);
}

constexpr const char* kTurns =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

TEST_F(ChatSamplesTest, WithoutMarksWhatStandsBehindTheGenerationPromptIsLearned) {
  EXPECT_EQ(marked(tokenizer_, format(kTurns), kChat),
            "<system>Be brief.</><user>1+1</><assistant>[2</>]<user>1+2</><assistant>[3</>]");
}

TEST_F(ChatSamplesTest, AnAnswerThatLaterTurnsChangeIsReadAndNotLearned) {
  // As R1's template drops earlier thoughts.
  const ChatFormat drops = format(
      "{% for m in messages %}<{{ m.role }}>{{ m.content if loop.last else m.content.split('|')[-1] }}</>{% "
      "endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}");
  EXPECT_EQ(marked(tokenizer_, drops, R"({"messages": [
                {"role": "user", "content": "a"}, {"role": "assistant", "content": "t|x"},
                {"role": "user", "content": "b"}, {"role": "assistant", "content": "u|y"}]})"),
            "<user>a</><assistant>x</><user>b</><assistant>[u|y</>]");
}

TEST_F(ChatSamplesTest, ATemplateThatHidesAnswersIsNamedWithTheLine) {
  const ChatFormat hides = format("{{ messages | length }}");
  EXPECT_THAT(error_of([&] { (void)marked(tokenizer_, hides, kChat); }),
              HasSubstr("f:1: the chat template shows no answer"));
  const ChatFormat refuses = format("{{ raise_exception('no system message, please') }}");
  EXPECT_THAT(error_of([&] { (void)marked(tokenizer_, refuses, kChat); }),
              HasSubstr("no system message, please"));
}

TEST_F(ChatSamplesTest, AModelWithoutATemplateNeedsOneNamed) {
  EXPECT_THAT(error_of([&] { (void)named(""); }), HasSubstr("--chat-template"));
}

TEST_F(ChatSamplesTest, AFolderOfChatsIsMadeOnceAndNamesWrongLines) {
  BpeTrainer trainer({.vocab_size = 260});
  trainer.add("ab");
  write_tokenizer(trainer.finish(), folder_.path() / "model");
  std::string lines;
  for (int i = 0; i < 200; ++i)
    lines += R"({"prompt": "say )" + std::to_string(i % 150) + R"(", "completion": ")" +
             std::to_string(i % 150) + "\"}\n";
  write_file_atomically(folder_.path() / "chats.jsonl", lines);
  ChatDataOptions options;
  options.files = {folder_.path() / "chats.jsonl"};
  options.tokenizer = folder_.path() / "model";
  options.chat_template = "plain";
  options.output = folder_.path() / "data";
  options.held_out = 0.1;
  ChatDataProgress last;
  const DataManifest made = prepare_chats(options, [&](const ChatDataProgress& done) { last = done; });
  EXPECT_EQ(last.chats, 150);
  EXPECT_EQ(made.sources[0].exact_duplicates, 50);
  EXPECT_EQ(made.train.documents + made.held_out.documents, 150);
  EXPECT_GT(made.held_out.documents, 3);
  ThreadPool pool(1);
  const DataManifest read = load_data_manifest(options.output);
  EXPECT_EQ(SampleSet(options.output, read, "train", pool).count(), made.train.documents);
  EXPECT_EQ(Tokenizer::load(options.output).chat_template(), plain_template())
      << "what is trained on it knows it";

  EXPECT_THAT(error_of([&] { (void)prepare_chats(options, [](const ChatDataProgress&) {}); }),
              HasSubstr("holds prepared data already"));
  write_file_atomically(folder_.path() / "chats.jsonl", lines + "{\"prompt\": 1}\n");
  options.output = folder_.path() / "other";
  EXPECT_THAT(error_of([&] { (void)prepare_chats(options, [](const ChatDataProgress&) {}); }),
              HasSubstr("chats.jsonl:201: no chat"));
}

}  // namespace
}  // namespace fathom
