// `fathom prepare`: texts to packed token shards, with a tokenizer given or trained on them.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "infer/text_model.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer_writer.h"
#include "train/prepare.h"

namespace fathom::cli {
namespace {

struct Options {
  PrepareOptions prepare;
  std::string tokenizer;
  bool train_tokenizer = false;
  std::string held_out_by = "auto";
  std::int64_t vocab_size = 4096;
  std::size_t threads = 0;
};

std::string progress_text(std::string_view what, std::uint64_t done, std::uint64_t total, double begin) {
  const double seconds = monotonic_seconds() - begin;
  return fmt::format(
      "{}: {} of {}, {}/s", what, format_bytes(done), format_bytes(total),
      format_bytes(static_cast<std::uint64_t>(static_cast<double>(done) / std::max(seconds, 1e-3))));
}

void train_tokenizer(const Options& options) {
  const std::uint64_t total = Corpus(options.prepare.corpus).bytes();
  const double begin = monotonic_seconds();
  ProgressLine line;
  BpeTrainer trainer({.vocab_size = options.vocab_size});
  for_each_training_text(options.prepare, [&](std::string_view text, std::uint64_t bytes_read) {
    trainer.add(text);
    line.update(progress_text("counting words", bytes_read, total, begin));
  });
  const TokenizerSpec spec = trainer.finish([&](std::int64_t tokens, std::int64_t wanted) {
    line.update(fmt::format("learning the tokenizer: {} of {} tokens", tokens, wanted));
  });
  write_tokenizer(spec, options.prepare.output);
  line.finish(fmt::format("tokenizer: learned in {}", format_duration(monotonic_seconds() - begin)));
}

void describe(std::string_view name, const DataSplit& split) {
  log_info("{}: {} tokens, {} documents, {} of text, {:.2f} bytes a token", name,
           format_count(static_cast<std::uint64_t>(split.tokens)),
           format_count(static_cast<std::uint64_t>(split.documents)),
           format_bytes(static_cast<std::uint64_t>(split.bytes)),
           split.tokens > 0 ? static_cast<double>(split.bytes) / static_cast<double>(split.tokens) : 0.0);
}

/// What is wrong with a part of the text that is to be held out; empty where nothing is.
std::string below_one(const std::string& text) {
  double part = 0;
  if (CLI::detail::lexical_cast(text, part) && part >= 0 && part < 1) return {};
  return fmt::format("{} is not from 0 to below 1", text);
}

HeldOutBy held_out_by(const std::string& name) {
  if (name == "document") return HeldOutBy::document;
  return name == "tail" ? HeldOutBy::tail : HeldOutBy::automatic;
}

void prepare(const Options& options) {
  if (options.train_tokenizer == !options.tokenizer.empty())
    throw UsageError("prepare: give either --tokenizer FOLDER or --train-tokenizer");
  require_no_data(options.prepare.output);
  create_folders(options.prepare.output);
  if (options.train_tokenizer) {
    train_tokenizer(options);
  } else {
    install_tokenizer(follow_run(options.tokenizer), options.prepare.output);
  }

  ThreadPool pool(options.threads);
  const double begin = monotonic_seconds();
  ProgressLine line;
  const DataManifest manifest = prepare_data(options.prepare, pool, [&](const PrepareProgress& progress) {
    line.update(progress_text("tokenizing", progress.bytes_read, progress.bytes_total, begin));
  });
  line.finish(fmt::format("{}: prepared in {}, vocabulary {}", options.prepare.output.string(),
                          format_duration(monotonic_seconds() - begin), manifest.vocab_size));
  describe("train", manifest.train);
  describe("held_out", manifest.held_out);
  if (options.prepare.held_out > 0 && manifest.held_out.tokens == 0)
    log_warning("no text was held out: raise --held-out to measure a held-out loss");
}

}  // namespace

void add_prepare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("prepare", "Turn texts into packed token shards for `fathom train`");
  CorpusOptions& corpus = options->prepare.corpus;
  command
      ->add_option(
          "input", corpus.inputs,
          "Text files, .jsonl files, or folders of .txt and .jsonl files. A text file is one document, "
          "and so is each line of a .jsonl file")
      ->required();
  command->add_option("--output,-o", options->prepare.output, "Folder to make")->required();
  command->add_option("--tokenizer", options->tokenizer,
                      "Folder with tokenizer.json, or of a training run, or such a file");
  command->add_flag("--train-tokenizer", options->train_tokenizer,
                    "Learn a byte-level BPE tokenizer from the training part of the texts");
  command->add_option("--vocab-size", options->vocab_size, "Tokens of the tokenizer to learn")
      ->capture_default_str();
  command->add_option("--field", corpus.field, "The field of a JSON line that holds the text")
      ->capture_default_str();
  command->add_option("--split-on", corpus.split_on,
                      "A line equal to this separates documents in a text file, as <|endoftext|>");
  command
      ->add_option("--held-out", options->prepare.held_out,
                   "Part of the text to keep from training, from 0 to below 1")
      ->check(CLI::Validator(below_one, "from 0 to below 1"))
      ->capture_default_str();
  command
      ->add_option("--held-out-by", options->held_out_by,
                   "document: whole documents by a checksum of their text; tail: the end of each document; "
                   "auto: tail where documents are whole text files, else document")
      ->check(CLI::IsMember({"auto", "document", "tail"}))
      ->capture_default_str();
  command->add_option("--shard-tokens", options->prepare.shard_tokens, "Tokens after which a new file begins")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_threads_option(*command, options->threads);
  command->callback([options] {
    options->prepare.held_out_by = held_out_by(options->held_out_by);
    prepare(*options);
  });
}

}  // namespace fathom::cli
