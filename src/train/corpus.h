#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// Where documents come from.
struct CorpusOptions {
  /// Files, or folders whose *.txt and *.jsonl files are taken in the order of their names. A file whose name
  /// ends in .jsonl holds a JSON object per line, any other file is text.
  std::vector<std::filesystem::path> inputs;
  std::string field = "text";  // of a JSON line, that holds the document
  std::string split_on = {};  // a line equal to this separates documents of a text file; empty: a file is one
};

/// Texts to train on, read as often as asked, always in the same order.
class Corpus {
 public:
  /// Throws `Error` naming an input that does not exist, or that is a folder without texts.
  explicit Corpus(CorpusOptions options);

  /// Calls `document` with each text that is not empty, and the bytes of input read so far. Throws `Error`
  /// naming file and line where a line is no JSON object with the field.
  void for_each(const std::function<void(std::string text, std::uint64_t bytes_read)>& document) const;

  /// Bytes of all files.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// Whether each document is a whole text file.
  [[nodiscard]] bool documents_are_files() const { return documents_are_files_; }

 private:
  CorpusOptions options_;
  std::vector<std::filesystem::path> files_;
  std::uint64_t bytes_ = 0;
  bool documents_are_files_ = true;
};

/// Where a document's last `fraction` of bytes begins: after the last line break before it, or else at a
/// character. 0 when the document is too short to cut, its size when `fraction` is 0.
std::size_t tail_begin(std::string_view text, double fraction);

}  // namespace fathom
