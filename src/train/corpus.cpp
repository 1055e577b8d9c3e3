#include "train/corpus.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "text/utf8.h"
#include "train/json_line.h"

namespace fathom {
namespace {

constexpr std::size_t kBlockBytes = 1U << 20U;
constexpr std::size_t kReadBytes = 256U << 10U;
constexpr std::size_t kLongestLine = 128U << 20U;
constexpr std::size_t kLongestSeparator = 1U << 10U;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// The ending that says what the content is: of "a.jsonl.gz", ".jsonl".
std::string content_extension(const std::filesystem::path& file) {
  return (compression_of(file) == Compression::none ? file : file.stem()).extension().string();
}

std::vector<std::filesystem::path> texts_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    const std::string extension = content_extension(entry->path());
    if (entry->is_regular_file() && (extension == ".txt" || extension == ".jsonl"))
      files.push_back(entry->path());
  }
  require(!error, "{}: cannot list the folder: {}", folder.string(), error.message());
  require(!files.empty(), "{}: the folder has no .txt or .jsonl files, nor such as .gz or .zst",
          folder.string());
  std::sort(files.begin(), files.end());
  return files;
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

std::string_view without_carriage_return(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

/// The size of `bytes` without a character at its end that is not whole.
std::size_t whole_characters(std::string_view bytes) {
  for (std::size_t tail = 1; tail <= std::min<std::size_t>(3, bytes.size()); ++tail) {
    const std::size_t at = bytes.size() - tail;
    if (next_utf8_unit(bytes.substr(at)).kind == Utf8Unit::Kind::kIncomplete) return at;
  }
  return bytes.size();
}

void require_text(const std::filesystem::path& file, std::string_view content) {
  const bool compressed = content.starts_with("\x1F\x8B") || content.starts_with("\x28\xB5\x2F\xFD");
  require(!compressed, "{}: compressed, which its name must say: let it end in .gz or .zst", file.string());
}

}  // namespace

Corpus::Corpus(std::vector<CorpusOptions> sources) : sources_(std::move(sources)) {
  for (std::size_t source = 0; source < sources_.size(); ++source) {
    const CorpusOptions& options = sources_[source];
    require(options.split_on.size() <= kLongestSeparator && options.split_on.find('\n') == std::string::npos,
            "the line between documents must be one line of at most {} bytes", kLongestSeparator);
    std::vector<std::filesystem::path> paths;
    for (const std::filesystem::path& input : options.inputs) {
      if (std::filesystem::is_directory(input)) {
        const std::vector<std::filesystem::path> inside = texts_in(input);
        paths.insert(paths.end(), inside.begin(), inside.end());
      } else {
        require(std::filesystem::exists(input), "{}: no such file or folder", input.string());
        require(std::filesystem::is_regular_file(input), "{}: not a regular file", input.string());
        paths.push_back(input);
      }
    }
    for (std::filesystem::path& path : paths) {
      const bool json_lines = options.kind == CorpusKind::automatic ? content_extension(path) == ".jsonl"
                                                                    : options.kind == CorpusKind::json_lines;
      const std::uint64_t size = std::filesystem::file_size(path);
      files_.push_back({std::move(path), source, json_lines, size});
      bytes_ += size;
    }
  }
}

bool Corpus::documents_are_files(std::size_t source) const {
  if (!sources_[source].split_on.empty()) return false;
  return std::none_of(files_.begin(), files_.end(),
                      [&](const CorpusFile& file) { return file.source == source && file.json_lines; });
}

std::uint64_t Corpus::fingerprint() const {
  Checksum sum;
  for (const CorpusFile& file : files_) {
    const auto time = std::filesystem::last_write_time(file.path).time_since_epoch().count();
    const std::string entry =
        fmt::format("{}\n{}\n{}\n{}\n", file.path.string(), file.source, file.size, time);
    sum.update(std::as_bytes(std::span(entry)));
  }
  return sum.value();
}

CorpusReader::CorpusReader(const Corpus& corpus, const CorpusPlace& from)
    : corpus_(corpus), start_(from), next_file_(from.file), ordinal_(from.ordinal - from.record) {
  for (std::size_t i = 0; i < std::min(from.file, corpus.files().size()); ++i)
    bytes_before_ += corpus.files()[i].size;
}

const CorpusOptions& CorpusReader::options() const {
  return corpus_.sources()[corpus_.files()[next_file_ - 1].source];
}

bool CorpusReader::open_next_file() {
  if (next_file_ >= corpus_.files().size()) return false;
  const CorpusFile& file = corpus_.files()[next_file_++];
  stream_ = open_byte_stream(file.path);
  record_ = 0;
  line_ = 0;
  at_end_ = false;
  carry_.clear();
  offset_ = 0;
  inside_line_ = false;
  return true;
}

bool CorpusReader::fill(CorpusBlock& block) {
  const bool at_begin = stream_->file_bytes_read() == 0;
  const std::size_t before = block.bytes.size();
  block.bytes.resize(before + kReadBytes);
  std::size_t got = 0;
  // The first bytes say what a file is; a stream may give them one at a time.
  const std::size_t wanted = at_begin ? std::size_t{4} : std::size_t{1};
  while (got < wanted) {
    const std::size_t more =
        stream_->read(std::as_writable_bytes(std::span(block.bytes).subspan(before + got, kReadBytes - got)));
    if (more == 0) break;
    got += more;
  }
  block.bytes.resize(before + got);
  if (at_begin) {
    require_text(block.file->path, block.bytes);
    if (block.bytes.starts_with(kByteOrderMark)) block.bytes.erase(0, kByteOrderMark.size());
  }
  at_end_ = got == 0;
  return !at_end_;
}

void CorpusReader::add_record(CorpusBlock& block, std::size_t begin, std::size_t end) {
  const std::string_view content = std::string_view(block.bytes).substr(begin, end - begin);
  // The last part of a long text may be empty: it still ends the text.
  if (offset_ == 0 && (block.file->json_lines ? is_blank(content) : content.empty())) return;
  if (block.records.empty()) {
    block.place = {next_file_ - 1, record_, ordinal_};
    block.offset = offset_;
  }
  block.records.push_back({begin, end - begin, line_});
  offset_ = 0;
  ++record_;
  ++ordinal_;
}

/// @param line  the one that begins at `line_begin_`
bool CorpusReader::is_separator(const CorpusBlock& block, std::string_view line) const {
  const std::string& separator = options().split_on;
  if (block.file->json_lines || separator.empty()) return false;
  if (line_begin_ == 0 && inside_line_) return false;  // only the end of a line
  return without_carriage_return(line) == separator;
}

/// Takes the lines that are whole, and with them the records that they end.
void CorpusReader::take_lines(CorpusBlock& block) {
  const std::string_view bytes = block.bytes;
  while (true) {
    const std::size_t end = bytes.find('\n', searched_);
    if (end == std::string_view::npos) break;
    ++line_;
    if (block.file->json_lines) {
      add_record(block, line_begin_, end);
      record_begin_ = end + 1;
    } else if (is_separator(block, bytes.substr(line_begin_, end - line_begin_))) {
      add_record(block, record_begin_, line_begin_);
      record_begin_ = end + 1;
    }
    line_begin_ = searched_ = end + 1;
    // A part of a long text is alone in its block.
    if (block.offset > 0 && !block.records.empty()) return;
  }
  searched_ = bytes.size();
}

/// Takes what stands after the last line break of a file.
void CorpusReader::take_rest(CorpusBlock& block) {
  const std::string_view bytes = block.bytes;
  ++line_;
  add_record(block, record_begin_,
             is_separator(block, bytes.substr(line_begin_)) ? line_begin_ : bytes.size());
  record_begin_ = bytes.size();
}

/// Gives out a part of a text that is too long to be held.
bool CorpusReader::take_part(CorpusBlock& block) {
  const std::size_t size = block.bytes.size() - record_begin_;
  if (block.file->json_lines) {
    require(size <= kLongestLine, "{}:{}: the line is longer than {} MiB", block.file->path.string(),
            line_ + 1, kLongestLine >> 20U);
    return false;
  }
  if (size < kLongText || !block.records.empty()) return false;
  // A line that may still turn out to be the separator stays.
  const std::size_t cut =
      line_begin_ > record_begin_ ? line_begin_ : whole_characters(std::string_view(block.bytes));
  block.place = {next_file_ - 1, record_, ordinal_};
  block.offset = offset_;
  block.records.push_back({record_begin_, cut - record_begin_, 0});
  block.is_open = true;
  inside_line_ = cut > line_begin_;
  offset_ += cut - record_begin_;
  record_begin_ = cut;
  line_begin_ = std::max(line_begin_, cut);
  return true;
}

bool CorpusReader::read_block(CorpusBlock& block) {
  while (true) {
    if (!stream_ && !open_next_file()) return false;
    block.file = &corpus_.files()[next_file_ - 1];
    block.bytes = std::exchange(carry_, {});
    block.offset = offset_;
    inside_line_ = inside_line_ && offset_ > 0;
    record_begin_ = 0;
    line_begin_ = 0;  // the line under way is looked through again: it is at most a block long
    searched_ = 0;
    while (true) {
      take_lines(block);
      if (block.offset > 0 && !block.records.empty()) break;
      if (take_part(block)) break;
      if (block.bytes.size() >= kBlockBytes && !block.records.empty()) break;
      if (!fill(block)) {
        take_rest(block);
        break;
      }
    }
    carry_ = block.bytes.substr(record_begin_);
    block.bytes.resize(record_begin_);
    block.bytes_read = bytes_before_ + stream_->file_bytes_read();
    if (at_end_) {
      bytes_before_ += block.file->size;
      stream_.reset();
    }
    if (!block.records.empty()) return true;
  }
}

void CorpusReader::drop_records_before_start(CorpusBlock& block) {
  if (block.place.file != start_.file || block.place.record >= start_.record) return;
  const std::uint64_t dropped =
      std::min<std::uint64_t>(start_.record - block.place.record, block.records.size());
  block.records.erase(block.records.begin(), block.records.begin() + static_cast<std::ptrdiff_t>(dropped));
  block.place.record += dropped;
  block.place.ordinal += dropped;
}

bool CorpusReader::next(CorpusBlock& block) {
  do {
    block = CorpusBlock();
    if (!read_block(block)) return false;
    drop_records_before_start(block);
  } while (block.records.empty());
  return true;
}

RecordText record_text(const CorpusBlock& block, std::size_t record, const CorpusOptions& options) {
  const CorpusBlock::Record& found = block.records[record];
  const std::string_view bytes = std::string_view(block.bytes).substr(found.begin, found.size);
  RecordText result;
  std::string repaired;
  result.repaired = !is_valid_utf8(bytes);
  if (result.repaired) append_as_utf8(bytes, repaired);
  if (!block.file->json_lines) {
    result.text = result.repaired ? std::move(repaired) : std::string(bytes);
  } else {
    result.text = string_field(result.repaired ? std::string_view(repaired) : bytes, options.field,
                               fmt::format("{}:{}", block.file->path.string(), found.line));
  }
  return result;
}

std::size_t cut_before(std::string_view text, std::size_t at) {
  const std::size_t line_break = text.substr(0, at).rfind('\n');
  if (line_break != std::string_view::npos) return line_break + 1;
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) --at;
  return at;
}

std::size_t tail_begin(std::string_view text, double fraction) {
  if (fraction <= 0) return text.size();
  return cut_before(text,
                    text.size() - static_cast<std::size_t>(static_cast<double>(text.size()) * fraction));
}

}  // namespace fathom
