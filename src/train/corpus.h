#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/byte_stream.h"

namespace fathom {

/// How documents stand in a file.
enum class CorpusKind : std::uint8_t {
  automatic,   ///< by the name: *.jsonl, compressed or not, holds JSON lines; any other file is text
  text,        ///< one document, or several with a line between them
  json_lines,  ///< a JSON object per line, blank lines aside
};

/// One corpus: where its documents come from.
struct CorpusOptions {
  /// Files, compressed as their names say (io/byte_stream.h), or folders, whose *.txt and *.jsonl files, also
  /// as .gz and .zst and in folders below, are taken in the order of their paths.
  std::vector<std::filesystem::path> inputs;
  std::string field = "text";  // of a JSON line, that holds the document
  std::string split_on = {};  // a line equal to this separates documents of a text file; empty: a file is one
  CorpusKind kind = CorpusKind::automatic;
  std::string name = "text";
  std::optional<double> weight = {};  // of its sequences in training; none: by its tokens
};

struct CorpusFile {
  std::filesystem::path path;
  std::size_t source = 0;  // index of its corpus
  bool json_lines = false;
  std::uint64_t size = 0;  // as it lies, compressed or not
};

/// The files of all corpora, in the order in which their documents come.
class Corpus {
 public:
  /// Throws `Error` naming an input that does not exist, or that is a folder without texts.
  explicit Corpus(std::vector<CorpusOptions> sources);

  [[nodiscard]] const std::vector<CorpusOptions>& sources() const { return sources_; }
  [[nodiscard]] const std::vector<CorpusFile>& files() const { return files_; }
  /// Bytes of all files, as they lie.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// Whether each document of a source is a whole text file.
  [[nodiscard]] bool documents_are_files(std::size_t source) const;
  /// One number for names, sizes and times of all files.
  [[nodiscard]] std::uint64_t fingerprint() const;

 private:
  std::vector<CorpusOptions> sources_;
  std::vector<CorpusFile> files_;
  std::uint64_t bytes_ = 0;
};

/// A place between two records of a corpus: that many records of a file come before it, and that many of all.
/// A record is a line that is not blank, or a text that is not empty.
struct CorpusPlace {
  std::size_t file = 0;
  std::uint64_t record = 0;
  std::uint64_t ordinal = 0;
};

/// Records that lie together in a file, as they lie.
struct CorpusBlock {
  struct Record {
    std::size_t begin = 0;  // in `bytes`
    std::size_t size = 0;
    std::uint64_t line = 0;  // of the file, from 1 on; of JSON lines
  };
  const CorpusFile* file = nullptr;
  CorpusPlace place;  // of the first record
  std::string bytes;
  std::vector<Record> records;
  /// A text above `kLongText` comes as several blocks of one record each, the ends of all but the last open.
  std::uint64_t offset = 0;      // of the only record in its text
  bool is_open = false;          // the text goes on in the next block
  std::uint64_t bytes_read = 0;  // of all files, after this block
};

/// Texts above this size, in bytes, are read in parts that end with a line or at least with a character.
inline constexpr std::size_t kLongText = 4U << 20U;

/// Reads a corpus a block at a time. Memory: a block, which is some 1 MiB, `kLongText`, or the longest JSON
/// line.
class CorpusReader {
 public:
  /// @param from  where to begin
  explicit CorpusReader(const Corpus& corpus, const CorpusPlace& from = {});

  /// @return false at the end. Throws `Error` naming the file that is damaged, or the line that is above
  ///         128 MiB
  bool next(CorpusBlock& block);

 private:
  bool read_block(CorpusBlock& block);
  bool open_next_file();
  void add_record(CorpusBlock& block, std::size_t begin, std::size_t end);
  [[nodiscard]] bool is_separator(const CorpusBlock& block, std::string_view line) const;
  void take_lines(CorpusBlock& block);
  void take_rest(CorpusBlock& block);
  bool take_part(CorpusBlock& block);
  bool fill(CorpusBlock& block);
  void drop_records_before_start(CorpusBlock& block);
  [[nodiscard]] const CorpusOptions& options() const;

  const Corpus& corpus_;
  CorpusPlace start_;
  std::size_t next_file_;
  std::uint64_t bytes_before_ = 0;  // of the files before the one that is open
  std::uint64_t ordinal_ = 0;       // of the next record to be found

  // The file that is open.
  std::unique_ptr<ByteStream> stream_;
  std::uint64_t record_ = 0;  // the next one's place in the file
  std::uint64_t line_ = 0;    // lines found so far
  bool at_end_ = false;       // all is read
  std::string carry_;         // the record that was not whole
  std::uint64_t offset_ = 0;  // of `carry_` in its text, where parts of it were given out
  bool inside_line_ = false;  // `carry_` begins inside a line

  // The block under way.
  std::size_t record_begin_ = 0;  // of the record that is not whole yet
  std::size_t line_begin_ = 0;    // of the line that is not whole yet
  std::size_t searched_ = 0;      // up to here there is no end of that line
};

/// The text of a record, and whether bytes in it were no UTF-8 and became U+FFFD.
struct RecordText {
  std::string text;
  bool repaired = false;
};
RecordText record_text(const CorpusBlock& block, std::size_t record, const CorpusOptions& options);

/// Where a document's last `fraction` of bytes begins: after the last line break before it, or else at a
/// character. 0 when the document is too short to cut, its size when `fraction` is 0.
std::size_t tail_begin(std::string_view text, double fraction);

/// The last line break's end in the first `at` bytes of `text`, or else the beginning of the character there.
std::size_t cut_before(std::string_view text, std::size_t at);

}  // namespace fathom
