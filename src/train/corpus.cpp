#include "train/corpus.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace fathom {
namespace {

using Document = std::function<void(std::string, std::uint64_t)>;

bool is_json_lines(const std::filesystem::path& file) {
  return file.extension() == ".jsonl";
}

/// Takes the next line off the front of `rest`, without its line break.
std::string_view take_line(std::string_view& rest) {
  const std::size_t end = std::min(rest.find('\n'), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

std::string_view without_carriage_return(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

void for_each_json_line(const std::filesystem::path& file, std::string_view text, const std::string& field,
                        std::uint64_t read_before, const Document& document) {
  std::string_view rest = text;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = take_line(rest);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = file.string() + ":" + std::to_string(number);
    const Json json = parse_json(line, where);
    require(json.is_object(), "{}: the line is not a JSON object", where);
    const auto value = json.find(field);
    require(value != json.end(), "{}: the object has no field \"{}\": name the text's field with --field",
            where, field);
    require(value->is_string(), "{}: the field \"{}\" is not a string", where, field);
    auto content = value->get<std::string>();
    if (!content.empty()) document(std::move(content), read_before + (text.size() - rest.size()));
  }
}

void for_each_part(std::string_view text, const std::string& split_on, std::uint64_t read_before,
                   const Document& document) {
  const auto emit = [&](std::size_t begin, std::size_t end, std::size_t read) {
    if (begin < end) document(std::string(text.substr(begin, end - begin)), read_before + read);
  };
  std::size_t begin = 0;
  if (!split_on.empty()) {
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t line_begin = text.size() - rest.size();
      if (without_carriage_return(take_line(rest)) != split_on) continue;
      const std::size_t next = text.size() - rest.size();
      emit(begin, line_begin, next);
      begin = next;
    }
  }
  emit(begin, text.size(), text.size());
}

std::vector<std::filesystem::path> texts_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::filesystem::path extension = entry.path().extension();
    if (entry.is_regular_file() && (extension == ".txt" || extension == ".jsonl"))
      files.push_back(entry.path());
  }
  require(!files.empty(), "{}: the folder has no .txt or .jsonl files", folder.string());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Corpus::Corpus(CorpusOptions options) : options_(std::move(options)) {
  for (const std::filesystem::path& input : options_.inputs) {
    if (std::filesystem::is_directory(input)) {
      const std::vector<std::filesystem::path> inside = texts_in(input);
      files_.insert(files_.end(), inside.begin(), inside.end());
    } else {
      require(std::filesystem::exists(input), "{}: no such file or folder", input.string());
      files_.push_back(input);
    }
  }
  for (const std::filesystem::path& file : files_) {
    require(std::filesystem::is_regular_file(file), "{}: not a regular file", file.string());
    bytes_ += std::filesystem::file_size(file);
    if (is_json_lines(file) || !options_.split_on.empty()) documents_are_files_ = false;
  }
}

void Corpus::for_each(const Document& document) const {
  std::uint64_t read_before = 0;
  for (const std::filesystem::path& file : files_) {
    if (std::filesystem::file_size(file) == 0) continue;
    const MappedFile mapped(file);
    const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
    if (is_json_lines(file)) {
      for_each_json_line(file, text, options_.field, read_before, document);
    } else {
      for_each_part(text, options_.split_on, read_before, document);
    }
    read_before += text.size();
  }
}

std::size_t tail_begin(std::string_view text, double fraction) {
  if (fraction <= 0) return text.size();
  auto at = text.size() - static_cast<std::size_t>(static_cast<double>(text.size()) * fraction);
  const std::size_t line_break = text.substr(0, at).rfind('\n');
  if (line_break != std::string_view::npos) return line_break + 1;
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) --at;
  return at;
}

}  // namespace fathom
