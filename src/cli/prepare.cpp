// `fathom prepare`: texts to packed token shards, with a tokenizer given or trained on them.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "infer/text_model.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer_writer.h"
#include "train/data_report.h"
#include "train/prepare.h"
#include "train/sources_file.h"

namespace fathom::cli {
namespace {

struct Options {
  PrepareOptions prepare;
  CorpusOptions corpus;
  std::string sources;
  std::string kind = "auto";
  std::string dedup = "exact";
  std::string tokenizer;
  bool train_tokenizer = false;
  std::string held_out_by = "auto";
  std::int64_t vocab_size = 4096;
  std::uint64_t tokenizer_text_mb = 256;
  std::size_t threads = 0;
  bool json = false;
};

/// Shows how far a preparation is: one line, a new start with each pass.
class Reporter {
 public:
  void show(const PrepareProgress& progress) {
    if (progress.phase != phase_ || begin_ == 0) {
      phase_ = progress.phase;
      begin_ = monotonic_seconds();
    }
    if (phase_ == PrepareProgress::Phase::duplicates) {
      line_.update("looking for duplicates");
      return;
    }
    const double seconds = std::max(monotonic_seconds() - begin_, 1e-3);
    const auto done = static_cast<double>(progress.bytes_read - progress.bytes_before);
    std::string text = fmt::format("{}: {} of {}, {:.1f} MB of text/s", name(),
                                   format_bytes(progress.bytes_read), format_bytes(progress.bytes_total),
                                   static_cast<double>(progress.text_bytes) / 1e6 / seconds);
    if (progress.tokens > 0)
      text += fmt::format(", {} tokens", format_count(static_cast<std::uint64_t>(progress.tokens)));
    const auto left = static_cast<double>(progress.bytes_total - progress.bytes_read);
    if (done > 0) text += fmt::format(", ETA {}", format_duration(seconds * left / done));
    line_.update(text);
    if (phase_ == PrepareProgress::Phase::tokens) text_bytes_ = progress.text_bytes;
  }
  void show_vocabulary(std::int64_t tokens, std::int64_t wanted) {
    line_.update(fmt::format("learning the tokenizer: {} of {} tokens", tokens, wanted));
  }
  void finish(const std::string& text) { line_.finish(text); }

  /// Text tokenised by this process, and the seconds since that began.
  [[nodiscard]] std::uint64_t text_bytes() const { return text_bytes_; }
  [[nodiscard]] double pass_seconds() const { return monotonic_seconds() - begin_; }

 private:
  [[nodiscard]] std::string_view name() const {
    if (phase_ == PrepareProgress::Phase::survey) return "1/2 reading";
    return phase_ == PrepareProgress::Phase::tokens ? "2/2 tokenizing" : "counting words";
  }

  ProgressLine line_;
  PrepareProgress::Phase phase_ = PrepareProgress::Phase::survey;
  double begin_ = 0;  // of the phase
  std::uint64_t text_bytes_ = 0;
};

/// The tokens beside BOS and EOS that a learned tokenizer has without learning them, as DeepSeek spells them.
std::vector<std::string> reserved_tokens() {
  return {"<｜▁pad▁｜>", "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"};
}

/// Ends the program in order once Ctrl-C or SIGTERM came. What is done is noted on the disk at any instant.
void stop_if(const InterruptFlag& interrupt, const Options& options, Reporter& reporter) {
  if (!interrupt.raised()) return;
  reporter.finish(
      fmt::format("{}: stopped: the same command goes on from there", options.prepare.output.string()));
  throw ExitStatus{kExitInterrupted};
}

void train_tokenizer(BpeTrainer& trainer, Preparation& preparation, const Options& options,
                     Reporter& reporter, const InterruptFlag& interrupt) {
  const double begin = monotonic_seconds();
  preparation.for_each_training_text([&](std::string_view text) { trainer.add(text); });
  const TokenizerSpec spec = trainer.finish([&](std::int64_t tokens, std::int64_t wanted) {
    reporter.show_vocabulary(tokens, wanted);
    stop_if(interrupt, options, reporter);
  });
  write_tokenizer(spec, options.prepare.output);
  reporter.finish(fmt::format("tokenizer: learned in {}", format_duration(monotonic_seconds() - begin)));
}

OrderedJson summary(const DataManifest& manifest, const Options& options, const Reporter& reporter,
                    double seconds) {
  OrderedJson json = {{"output", options.prepare.output.string()}};
  json.update(data_to_json(manifest));
  json["seconds"] = seconds;
  json["tokenized_mb_per_second"] =
      static_cast<double>(reporter.text_bytes()) / 1e6 / std::max(reporter.pass_seconds(), 1e-3);
  return json;
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

CorpusKind kind_of(const std::string& name) {
  if (name == "text") return CorpusKind::text;
  return name == "jsonl" ? CorpusKind::json_lines : CorpusKind::automatic;
}

/// Puts what the options say together.
void complete(Options& options) {
  PrepareOptions& prepare = options.prepare;
  if (options.train_tokenizer == !options.tokenizer.empty())
    throw UsageError("prepare: give either --tokenizer FOLDER or --train-tokenizer");
  if (options.corpus.inputs.empty() == options.sources.empty())
    throw UsageError("prepare: give either texts or --sources FILE");
  options.corpus.kind = kind_of(options.kind);
  prepare.sources =
      options.sources.empty() ? std::vector{options.corpus} : read_sources_file(options.sources);
  prepare.held_out_by = held_out_by(options.held_out_by);
  prepare.exact_dedup = options.dedup == "exact";
  prepare.tokenizer_text_bytes = options.tokenizer_text_mb * 1'000'000;
  if (options.train_tokenizer) prepare.learned_vocab_size = options.vocab_size;
}

void prepare(Options options) {
  complete(options);
  std::optional<BpeTrainer> trainer;  // now, so that what is wrong with it is said before hours of reading
  if (options.train_tokenizer)
    trainer.emplace(
        BpeTrainerOptions{.vocab_size = options.vocab_size, .more_special_tokens = reserved_tokens()});
  ThreadPool pool(options.threads);
  const double begin = monotonic_seconds();
  Reporter reporter;
  const InterruptFlag interrupt;
  Preparation preparation(options.prepare, pool, [&](const PrepareProgress& progress) {
    reporter.show(progress);
    stop_if(interrupt, options, reporter);
  });
  if (preparation.is_continued())
    log_info("{}: going on where an earlier run stopped", options.prepare.output.string());
  if (!options.train_tokenizer) {
    install_tokenizer(follow_run(options.tokenizer), options.prepare.output);
    preparation.load_tokenizer();  // now, for the same reason
  }
  preparation.survey();
  if (trainer && !preparation.has_tokenizer())
    train_tokenizer(*trainer, preparation, options, reporter, interrupt);
  const DataManifest manifest = preparation.tokenize();
  const double seconds = monotonic_seconds() - begin;
  reporter.finish(fmt::format("{}: prepared in {}, vocabulary {}", options.prepare.output.string(),
                              format_duration(seconds), manifest.vocab_size));
  if (options.json) {
    fmt::print("{}\n", summary(manifest, options, reporter, seconds)
                           .dump(2, ' ', false, OrderedJson::error_handler_t::replace));
  } else {
    fmt::print(stderr, "{}", data_to_text(manifest));
  }
  if (options.prepare.held_out > 0 && manifest.held_out.tokens == 0)
    log_warning("no text was held out: raise --held-out to measure a held-out loss");
}

constexpr const char* kFooter = R"(Texts
  A text file is one document, unless --split-on names a line that separates documents. A .jsonl file has a
  document per line. Both may be compressed: .gz, .zst. Folders are searched for .txt and .jsonl, with those
  endings too. Bytes that are no UTF-8 become U+FFFD, and are counted.

Several sources
  --sources mix.json, with mix.json beside the texts:
    {"sources": [
      {"name": "web",  "files": ["web/"],       "field": "content", "weight": 0.7},
      {"name": "code", "files": "code.txt.zst", "split_on": "<|endoftext|>", "weight": 0.3}]}
  `fathom train` draws sequences from them by their weights. Without weights, by their tokens.

Stopping
  The same command goes on after a crash, a full disk or Ctrl-C (exit status 130), and ends with the same
  files.

Examples
  fathom prepare texts/ --output data --train-tokenizer --vocab-size 4096
  fathom prepare web/ --output data --tokenizer deepseek-v3/ --near-dedup 0.8 --fim-rate 0.1
  fathom inspect data)";

void add_input_options(CLI::App& command, Options& options) {
  CorpusOptions& corpus = options.corpus;
  command.add_option("input", corpus.inputs, "Text files, .jsonl files, or folders of them")->group("Input");
  command.add_option("--sources", options.sources, "A JSON file that lists several sources, as shown below")
      ->group("Input");
  command.add_option("--kind", options.kind, "What the files are; auto: .jsonl by name, else text")
      ->check(CLI::IsMember({"auto", "text", "jsonl"}))
      ->capture_default_str()
      ->group("Input");
  command.add_option("--field", corpus.field, "The field of a JSON line that holds the text")
      ->capture_default_str()
      ->group("Input");
  command
      .add_option("--split-on", corpus.split_on,
                  "A line equal to this separates documents in a text file, as <|endoftext|>")
      ->group("Input");
}

void add_tokenizer_options(CLI::App& command, Options& options) {
  command
      .add_option("--tokenizer", options.tokenizer,
                  "Folder with tokenizer.json, or of a training run, or such a file")
      ->group("Tokenizer");
  command
      .add_flag("--train-tokenizer", options.train_tokenizer,
                "Learn a byte-level BPE tokenizer from the training part of the texts")
      ->group("Tokenizer");
  command.add_option("--vocab-size", options.vocab_size, "Tokens of the tokenizer to learn")
      ->capture_default_str()
      ->group("Tokenizer");
  command
      .add_option("--tokenizer-text-mb", options.tokenizer_text_mb,
                  "Learn it from some documents where there is more text than this")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 40U))
      ->capture_default_str()
      ->group("Tokenizer");
}

void add_document_options(CLI::App& command, Options& options) {
  PrepareOptions& prepare = options.prepare;
  command
      .add_option("--dedup", options.dedup, "exact: of documents with the same text the first stays; none")
      ->check(CLI::IsMember({"exact", "none"}))
      ->capture_default_str()
      ->group("Documents");
  command
      .add_option("--near-dedup", prepare.near_dedup,
                  "Leave out documents whose 5-word shingles are this similar (Jaccard, as 0.8) to an "
                  "earlier one's")
      ->check(CLI::Range(1e-3, 1.0))
      ->group("Documents");
  command
      .add_option("--fim-rate", prepare.fim_rate,
                  "Part of the training documents to rearrange for filling in the middle; DeepSeek-V3: 0.1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group("Documents");
  command.add_option("--seed", prepare.seed, "Of the choice of those")
      ->check(at_least(0))
      ->capture_default_str()
      ->group("Documents");
  command
      .add_option("--held-out", prepare.held_out, "Part of the text to keep from training, from 0 to below 1")
      ->check(CLI::Validator(below_one, "from 0 to below 1"))
      ->capture_default_str()
      ->group("Documents");
  command
      .add_option("--held-out-by", options.held_out_by,
                  "document: whole documents by a checksum of their text; tail: the end of each document; "
                  "auto: tail where documents are whole text files, else document")
      ->check(CLI::IsMember({"auto", "document", "tail"}))
      ->capture_default_str()
      ->group("Documents");
}

void add_output_options(CLI::App& command, Options& options) {
  command.add_option("--output,-o", options.prepare.output, "Folder to make")->required()->group("Output");
  command.add_option("--shard-tokens", options.prepare.shard_tokens, "Tokens after which a new file begins")
      ->check(at_least(1))
      ->capture_default_str()
      ->group("Output");
  add_threads_option(command, options.threads);
  command.add_flag("--json", options.json, "Print a summary as JSON")->group("Output");
}

}  // namespace

void add_prepare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("prepare", "Turn texts into packed token shards for `fathom train`");
  add_input_options(*command, *options);
  add_tokenizer_options(*command, *options);
  add_document_options(*command, *options);
  add_output_options(*command, *options);
  command->footer(kFooter);
  command->callback([options] { prepare(*options); });
}

}  // namespace fathom::cli
