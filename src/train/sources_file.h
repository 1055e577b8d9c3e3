#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "train/corpus.h"

namespace fathom {

/// Reads a file that lists corpora to be prepared together:
///
///     {"sources": [
///       {"name": "web", "files": ["web/"], "kind": "jsonl", "field": "content", "weight": 0.7},
///       {"name": "books", "files": "books.txt.zst", "split_on": "<|endoftext|>", "weight": 0.3}
///     ]}
///
/// `name` and `files` (files or folders, relative to the folder of the list) must be there; `kind` is "auto",
/// "text" or "jsonl". Throws `Error` naming the key that is wrong or unknown.
std::vector<CorpusOptions> read_sources_file(const std::filesystem::path& file);

/// Throws `Error` unless there is a source, each has a name of its own that files can be named after, and
/// each a sane weight or none has.
/// @param where  begins the message
void require_possible_sources(const std::vector<CorpusOptions>& sources, std::string_view where);

}  // namespace fathom
