#include "train/prepare.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/ordered_pipeline.h"
#include "text/tokenizer.h"
#include "train/document_tokens.h"
#include "train/entry_file.h"
#include "train/prepare_journal.h"
#include "train/shard_set.h"
#include "train/sources_file.h"
#include "train/survey.h"

namespace fathom {
namespace {

constexpr std::uint64_t kLargestTokenizer = 256U << 20U;

using Fate = DocumentFates::Fate;
using Phase = PrepareProgress::Phase;

void require_possible(const PrepareOptions& options) {
  require(options.held_out >= 0 && options.held_out < 1,
          "the held-out part is {}, it must be from 0 to below 1", options.held_out);
  require(options.fim_rate >= 0 && options.fim_rate <= 1, "the FIM rate is {}, it must be from 0 to 1",
          options.fim_rate);
  require(options.shard_tokens > 0, "a shard of {} tokens is impossible", options.shard_tokens);
  require(!options.near_dedup || (*options.near_dedup > 0 && *options.near_dedup <= 1),
          "the similarity of near duplicates is {}, it must be above 0 and at most 1",
          options.near_dedup.value_or(0));
  require(!options.near_dedup || options.exact_dedup,
          "near duplicates cannot be left out while exact ones stay");
  require_possible_sources(options.sources, options.output.string());
}

void require_no_data(const std::filesystem::path& output) {
  require(!is_data_folder(output),
          "{} already holds prepared data: choose another --output, or remove the folder", output.string());
}

/// Everything that decides the bytes of the result, but for the tokenizer.
OrderedJson recipe_of(const PrepareOptions& options, const Corpus& corpus) {
  OrderedJson sources = OrderedJson::array();
  for (const CorpusOptions& source : options.sources)
    sources.push_back({{"name", source.name},
                       {"field", source.field},
                       {"split_on", source.split_on},
                       {"kind", static_cast<int>(source.kind)},
                       {"weight", source.weight ? OrderedJson(*source.weight) : OrderedJson(nullptr)}});
  // Bytes that are no UTF-8 would not survive the journal.
  OrderedJson recipe = {
      {"sources", sources},
      {"input files", fmt::format("{:016x}", corpus.fingerprint())},
      {"held_out", options.held_out},
      {"held_out_by", static_cast<int>(options.held_out_by)},
      {"shard_tokens", options.shard_tokens},
      {"dedup", options.exact_dedup},
      {"near_dedup", options.near_dedup ? OrderedJson(*options.near_dedup) : OrderedJson(nullptr)},
      {"fim_rate", options.fim_rate},
      {"seed", options.seed},
      {"vocab_size", options.learned_vocab_size},
      {"tokenizer_text_bytes", options.tokenizer_text_bytes}};
  return OrderedJson::parse(recipe.dump(-1, ' ', false, OrderedJson::error_handler_t::replace));
}

OrderedJson to_json(const DataShard& shard) {
  return {{"file", shard.file},           {"source", shard.source}, {"tokens", shard.tokens},
          {"documents", shard.documents}, {"bytes", shard.bytes},   {"checksum", shard.checksum.value_or(0)}};
}

DataShard shard_from(const Json& json) {
  DataShard shard;
  shard.file = json.at("file").get<std::string>();
  shard.source = json.at("source").get<std::size_t>();
  shard.tokens = json.at("tokens").get<std::int64_t>();
  shard.documents = json.at("documents").get<std::int64_t>();
  shard.bytes = json.at("bytes").get<std::int64_t>();
  shard.checksum = json.at("checksum").get<std::uint64_t>();
  return shard;
}

/// Reads blocks and what the survey knows of their records.
class PlannedReader {
 public:
  PlannedReader(const Corpus& corpus, const CorpusPlace& from, const SurveyFiles& files,
                const DocumentFates& fates)
      : reader_(corpus, from), surveyed_(files.records), fates_(fates) {}

  bool next(PlannedBlock& planned) {
    if (!reader_.next(planned.block)) return false;
    const std::uint64_t first = planned.block.place.ordinal;
    const std::size_t count = planned.block.records.size();
    planned.surveyed.assign(count, {});
    surveyed_.seek(first);
    for (std::size_t i = 0; i < count; ++i) {
      require(surveyed_.next(planned.surveyed[i]) && first + i < fates_.size(),
              "{}: changed while it was being prepared: prepare again, into another folder",
              planned.block.file->path.string());
      planned.fates.push_back(fates_.of(first + i));
    }
    return true;
  }

 private:
  CorpusReader reader_;
  EntryFile<SurveyRecord> surveyed_;
  const DocumentFates& fates_;
};

}  // namespace

struct Preparation::State {
  State(PrepareOptions given, ThreadPool& threads, Progress report)
      : options(checked(std::move(given))),
        pool(threads),
        progress(std::move(report)),
        corpus(options.sources),
        unfinished(options.output / "unfinished"),
        journal(unfinished, recipe_of(options, corpus)),
        files(unfinished) {}

  static PrepareOptions checked(PrepareOptions given) {
    require_possible(given);
    std::error_code ignored;
    // A process that ends between its last two acts leaves this behind.
    if (is_data_folder(given.output)) std::filesystem::remove_all(given.output / "unfinished", ignored);
    require_no_data(given.output);
    return given;
  }

  /// Removes the files that a killed process had not finished. The journal's lock says that none is at work.
  void clear_leftovers() const {
    std::vector<std::filesystem::path> leftovers;
    for (const auto& entry : std::filesystem::directory_iterator(options.output))
      if (entry.path().filename().string().find(".tmp-") != std::string::npos)
        leftovers.push_back(entry.path());
    std::error_code ignored;
    for (const std::filesystem::path& leftover : leftovers) std::filesystem::remove(leftover, ignored);
  }

  [[nodiscard]] std::vector<bool> held_out_by_tail() const {
    std::vector<bool> by_tail;
    for (std::size_t i = 0; i < options.sources.size(); ++i)
      by_tail.push_back(options.held_out_by == HeldOutBy::tail ||
                        (options.held_out_by == HeldOutBy::automatic && corpus.documents_are_files(i)));
    return by_tail;
  }

  [[nodiscard]] std::string tokenizer_checksum() const {
    const std::filesystem::path file = options.output / "tokenizer.json";
    return fmt::format("{:016x}", checksum(read_text_file(file, kLargestTokenizer)));
  }
  /// The tokenizer that an earlier process worked with; nothing where none did.
  [[nodiscard]] std::optional<std::string> noted_tokenizer() const {
    for (const Json& entry : journal.entries())
      if (entry.contains("tokenizer")) return entry.at("tokenizer").get<std::string>();
    return std::nullopt;
  }

  /// With the tokenizer that stands in the output folder.
  const TokenRecipe& token_recipe() {
    if (recipe) return *recipe;
    TokenRecipe made;
    made.tokenizer.emplace(Tokenizer::load(options.output));
    if (options.fim_rate > 0) {
      made.fim = FimTokens::of(*made.tokenizer);
      require(
          made.fim.has_value(),
          "{}: has no tokens for filling in the middle, such as <｜fim▁begin｜>: leave --fim-rate out, or "
          "learn a tokenizer, which then has them",
          (options.output / "tokenizer.json").string());
    }
    made.fim_rate = options.fim_rate;
    made.seed = options.seed;
    made.held_out = options.held_out;
    made.held_out_by_tail = held_out_by_tail();
    recipe = std::move(made);
    return *recipe;
  }

  PrepareOptions options;
  ThreadPool& pool;
  Progress progress;
  Corpus corpus;
  std::filesystem::path unfinished;
  PrepareJournal journal;
  SurveyFiles files;
  std::optional<DocumentFates> fates;  // after the survey
  std::optional<TokenRecipe> recipe;   // once it was asked for
};

namespace {

/// The last pass: what is written, where it stands, and the notes from which it goes on.
class TokenPass {
 public:
  TokenPass(const PrepareOptions& options, PrepareJournal& journal, DataManifest& manifest)
      : journal_(journal), manifest_(manifest), shards_(options.output, manifest, options.shard_tokens) {
    for (const Json& entry : journal.entries())
      if (entry.contains("shards")) replay(entry.at("shards"));
  }

  [[nodiscard]] const CorpusPlace& place() const { return place_; }
  [[nodiscard]] std::int64_t tokens() const {
    return manifest_.train.tokens + manifest_.held_out.tokens + shards_.open_tokens();
  }

  void add(const TokenizedBlock& block) {
    if (block.source != source_) end_set();
    source_ = block.source;
    std::size_t piece = 0;
    for (std::size_t i = 0; i < block.records.size(); ++i) {
      const TokenizedBlock::Record& record = block.records[i];
      for (; piece < record.pieces_end; ++piece) shards_.add(block, block.pieces[piece]);
      repaired_ = repaired_ || record.repaired;
      if (!record.ends) continue;
      count(record);
      place_ = {block.place.file, block.place.record + i + 1, block.place.ordinal + i + 1};
      if (shards_.is_full()) end_set();
    }
  }

  void end_set() {
    const std::size_t train = manifest_.train.shards.size();
    const std::size_t held_out = manifest_.held_out.shards.size();
    shards_.end_set();
    const DataSource& source = manifest_.sources[source_];
    OrderedJson entry = {{"file", place_.file},
                         {"record", place_.record},
                         {"ordinal", place_.ordinal},
                         {"source", source_},
                         {"exact_duplicates", source.exact_duplicates},
                         {"near_duplicates", source.near_duplicates},
                         {"repaired_documents", source.repaired_documents},
                         {"rearranged_documents", source.rearranged_documents},
                         {"train", OrderedJson::array()},
                         {"held_out", OrderedJson::array()}};
    for (std::size_t i = train; i < manifest_.train.shards.size(); ++i)
      entry["train"].push_back(to_json(manifest_.train.shards[i]));
    for (std::size_t i = held_out; i < manifest_.held_out.shards.size(); ++i)
      entry["held_out"].push_back(to_json(manifest_.held_out.shards[i]));
    journal_.append({{"shards", entry}});
  }

 private:
  void replay(const Json& entry) {
    place_ = {entry.at("file").get<std::size_t>(), entry.at("record").get<std::uint64_t>(),
              entry.at("ordinal").get<std::uint64_t>()};
    source_ = entry.at("source").get<std::size_t>();
    require(source_ < manifest_.sources.size(), "{}: there is no source {}: remove the output folder",
            journal_.file().string(), source_);
    DataSource& source = manifest_.sources[source_];
    source.exact_duplicates = entry.at("exact_duplicates").get<std::int64_t>();
    source.near_duplicates = entry.at("near_duplicates").get<std::int64_t>();
    source.repaired_documents = entry.at("repaired_documents").get<std::int64_t>();
    source.rearranged_documents = entry.at("rearranged_documents").get<std::int64_t>();
    for (const Json& shard : entry.at("train")) add_shard(manifest_.train, shard_from(shard));
    for (const Json& shard : entry.at("held_out")) add_shard(manifest_.held_out, shard_from(shard));
  }

  void count(const TokenizedBlock::Record& record) {
    DataSource& source = manifest_.sources[source_];
    source.exact_duplicates += record.fate == Fate::exact_duplicate ? 1 : 0;
    source.near_duplicates += record.fate == Fate::near_duplicate ? 1 : 0;
    source.repaired_documents += repaired_ ? 1 : 0;
    source.rearranged_documents += record.rearranged ? 1 : 0;
    repaired_ = false;
  }

  PrepareJournal& journal_;
  DataManifest& manifest_;
  ShardSetWriter shards_;
  CorpusPlace place_;
  std::size_t source_ = 0;
  bool repaired_ = false;  // in the document under way
};

/// Weights as given, or else as many as there are tokens: then each source has as many epochs as any other.
void set_weights(const std::vector<CorpusOptions>& sources, DataManifest& manifest) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const std::int64_t tokens = manifest.split("train", i).tokens;
    require(tokens > 0, "the {} has no text to train on: give texts, or lower --held-out",
            sources.size() == 1 ? "input" : "source " + sources[i].name);
    manifest.sources[i].weight = sources[i].weight.value_or(static_cast<double>(tokens));
  }
}

/// How a note of a journal that was written by something else is reported.
template <typename Action>
auto reading_journal(const PrepareJournal& journal, const Action& action) {
  try {
    return action();
  } catch (const Json::exception& error) {
    fail("{}: not a journal of this program ({}): remove the output folder and prepare again",
         journal.file().string(), error.what());
  }
}

}  // namespace

Preparation::Preparation(PrepareOptions options, ThreadPool& pool, Progress progress)
    : state_(std::make_unique<State>(std::move(options), pool, std::move(progress))) {
  state_->clear_leftovers();
}
Preparation::~Preparation() = default;

bool Preparation::is_continued() const {
  return !state_->journal.entries().empty();
}

bool Preparation::has_tokenizer() const {
  const std::optional<std::string> noted =
      reading_journal(state_->journal, [&] { return state_->noted_tokenizer(); });
  return noted && std::filesystem::exists(state_->options.output / "tokenizer.json") &&
         *noted == state_->tokenizer_checksum();
}

void Preparation::load_tokenizer() {
  (void)state_->token_recipe();
}

void Preparation::survey() {
  State& state = *state_;
  PrepareProgress shown{.phase = Phase::survey, .bytes_total = state.corpus.bytes()};
  const std::uint64_t records = reading_journal(state.journal, [&] {
    bool first = true;
    return survey_corpus(state.corpus, state.options.near_dedup.has_value(), state.files, state.journal,
                         state.pool, [&](const PassProgress& done) {
                           if (std::exchange(first, false)) shown.bytes_before = done.bytes_read;
                           shown.bytes_read = done.bytes_read;
                           shown.text_bytes = done.text_bytes;
                           state.progress(shown);
                         });
  });
  if (std::filesystem::exists(state.files.fates)) {
    state.fates = DocumentFates::load(state.files.fates, records);
    return;
  }
  shown.phase = Phase::duplicates;
  state.progress(shown);
  state.fates = state.options.exact_dedup
                    ? find_duplicates(state.files, records, state.options.near_dedup, state.pool)
                    : DocumentFates(records);
  state.fates->save(state.files.fates);
}

void Preparation::for_each_training_text(const std::function<void(std::string_view)>& text) {
  State& state = *state_;
  require(state.fates.has_value(), "the texts are not surveyed yet");
  std::uint64_t total = 0;
  {
    EntryFile<SurveyRecord> surveyed(state.files.records);
    SurveyRecord record;
    while (surveyed.next(record)) total += record.bytes;
  }
  const double part =
      std::min(1.0, static_cast<double>(state.options.tokenizer_text_bytes) / static_cast<double>(total));
  TokenRecipe recipe;
  recipe.held_out = state.options.held_out;
  recipe.held_out_by_tail = state.held_out_by_tail();

  struct Texts {
    std::vector<std::string> texts;
    std::uint64_t bytes_read = 0;
    std::uint64_t text_bytes = 0;
  };
  PrepareProgress shown{.phase = Phase::vocabulary, .bytes_total = state.corpus.bytes()};
  PlannedReader reader(state.corpus, {}, state.files, *state.fates);
  OrderedPipeline<PlannedBlock, Texts>::run(
      state.pool, {.produce = [&](PlannedBlock& block) { return reader.next(block); },
                   .work =
                       [&](const PlannedBlock& planned) {
                         Texts found;
                         found.bytes_read = planned.block.bytes_read;
                         found.texts = training_texts(recipe, state.corpus, planned, part);
                         for (const std::string& one : found.texts) found.text_bytes += one.size();
                         return found;
                       },
                   .consume =
                       [&](const Texts& found) {
                         for (const std::string& one : found.texts) text(one);
                         shown.bytes_read = found.bytes_read;
                         shown.text_bytes += found.text_bytes;
                         state.progress(shown);
                       }});
}

DataManifest Preparation::tokenize() {
  State& state = *state_;
  const PrepareOptions& options = state.options;
  require(state.fates.has_value(), "the texts are not surveyed yet");
  const TokenRecipe& recipe = state.token_recipe();
  const Tokenizer& tokenizer = *recipe.tokenizer;
  const std::string tokenizer_sum = state.tokenizer_checksum();
  const std::optional<std::string> noted =
      reading_journal(state.journal, [&] { return state.noted_tokenizer(); });
  require(!noted || *noted == tokenizer_sum,
          "{} holds an unfinished preparation with another tokenizer: give the same one to go on, or remove "
          "the folder",
          options.output.string());
  if (!noted) state.journal.append({{"tokenizer", tokenizer_sum}});

  DataManifest manifest;
  manifest.vocab_size = tokenizer.vocab_size();
  manifest.tokenizer_hash = checksum(read_text_file(options.output / "tokenizer.json", kLargestTokenizer));
  manifest.bos_token_id = tokenizer.bos().value_or(-1);
  manifest.eos_token_id = tokenizer.eos().value_or(-1);
  for (const CorpusOptions& source : options.sources) manifest.sources.push_back({.name = source.name});

  TokenPass pass =
      reading_journal(state.journal, [&] { return TokenPass(options, state.journal, manifest); });
  PrepareProgress shown{.phase = Phase::tokens, .bytes_total = state.corpus.bytes()};
  bool first = true;
  PlannedReader reader(state.corpus, pass.place(), state.files, *state.fates);
  OrderedPipeline<PlannedBlock, TokenizedBlock>::run(
      state.pool,
      {.produce = [&](PlannedBlock& block) { return reader.next(block); },
       .work = [&](const PlannedBlock& planned) { return tokenize_block(recipe, state.corpus, planned); },
       .consume =
           [&](const TokenizedBlock& block) {
             pass.add(block);
             if (std::exchange(first, false)) shown.bytes_before = block.bytes_read;
             shown.bytes_read = block.bytes_read;
             shown.text_bytes += block.text_bytes;
             shown.tokens = pass.tokens();
             state.progress(shown);
           }});
  pass.end_set();

  set_weights(options.sources, manifest);
  save_data_manifest(manifest, options.output);
  std::error_code ignored;
  std::filesystem::remove_all(state.unfinished, ignored);
  return manifest;
}

DataManifest prepare_data(const PrepareOptions& options, ThreadPool& pool,
                          const Preparation::Progress& progress) {
  Preparation preparation(options, pool, progress);
  preparation.load_tokenizer();
  preparation.survey();
  return preparation.tokenize();
}

void install_tokenizer(const std::filesystem::path& folder_or_file, const std::filesystem::path& output) {
  const bool is_folder = std::filesystem::is_directory(folder_or_file);
  const std::filesystem::path file = is_folder ? folder_or_file / "tokenizer.json" : folder_or_file;
  const std::filesystem::path config = file.parent_path() / "tokenizer_config.json";
  create_folders(output);
  write_file_atomically(output / "tokenizer.json", read_text_file(file, kLargestTokenizer));
  if (std::filesystem::is_regular_file(config))
    write_file_atomically(output / "tokenizer_config.json", read_text_file(config, kLargestTokenizer));
}

}  // namespace fathom
