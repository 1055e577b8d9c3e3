#include "infer/prefix_store.h"

#include <fmt/core.h>

#include <algorithm>
#include <system_error>
#include <tuple>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace fathom {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kEnding = ".latents";

}  // namespace

PrefixStore::PrefixStore(fs::path folder, std::uint64_t most_bytes, const CacheFileKey& key,
                         std::int64_t page_positions)
    : folder_(std::move(folder)), most_bytes_(most_bytes), key_(key), page_positions_(page_positions) {
  create_folders(folder_);
  std::vector<std::tuple<fs::file_time_type, std::string, std::uint64_t>> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    std::error_code ignored;
    if (!name.ends_with(kEnding) || !entry->is_regular_file(ignored)) continue;
    const std::uint64_t size = entry->file_size(ignored);
    if (!ignored) found.emplace_back(entry->last_write_time(ignored), name, size);
  }
  require(!error, "{}: cannot list the folder: {}", folder_.string(), error.message());
  std::ranges::sort(found);
  for (const auto& [time, name, size] : found) note(name, size);
}

std::string PrefixStore::name_of(std::span<const std::int32_t> tokens) const {
  // Two sums of 64 bits; the file itself says which tokens it is of.
  Checksum first;
  Checksum second;
  const std::uint64_t type = static_cast<std::uint64_t>(key_.row.type);
  first.update(std::as_bytes(std::span(&key_.fingerprint, 1)));
  second.update(std::as_bytes(std::span(&type, 1)));
  for (Checksum* sum : {&first, &second}) sum->update(std::as_bytes(tokens));
  return fmt::format("{:016x}{:016x}{}", first.value(), second.value(), kEnding);
}

void PrefixStore::note(const std::string& name, std::uint64_t bytes) {
  forget(name);
  entries_[name] = {bytes, ++clock_};
  by_use_.insert({clock_, name});
  bytes_ += bytes;
  while (bytes_ > most_bytes_) {
    const std::string oldest = by_use_.begin()->second;
    std::error_code ignored;
    fs::remove(path_of(oldest), ignored);
    forget(oldest);
  }
}

void PrefixStore::forget(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  by_use_.erase({found->second.used, name});
  bytes_ -= found->second.bytes;
  entries_.erase(found);
}

bool PrefixStore::has(std::span<const std::int32_t> tokens) const {
  const std::string name = name_of(tokens);
  const std::scoped_lock lock(mutex_);
  return entries_.contains(name);
}

std::optional<std::vector<std::byte>> PrefixStore::load(std::span<const std::int32_t> tokens) {
  const std::string name = name_of(tokens);
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return std::nullopt;
  const std::uint64_t bytes = found->second.bytes;
  try {
    CachedText text = read_cache_file(path_of(name), key_);
    const auto count = static_cast<std::int64_t>(text.tokens.size());
    if (std::ranges::equal(text.tokens, tokens) && text.range.begin == count - page_positions_ &&
        text.range.end == count) {
      note(name, bytes);
      return std::move(text.rows);
    }
  } catch (const Error& error) {
    log_warning("{}", error.what());
  }
  std::error_code ignored;
  fs::remove(path_of(name), ignored);
  forget(name);
  return std::nullopt;
}

void PrefixStore::save(std::span<const std::int32_t> tokens, std::span<const std::byte> page) {
  const std::string name = name_of(tokens);
  const std::scoped_lock lock(mutex_);
  if (has_failed_ || page.size() > most_bytes_) return;
  try {
    const auto end = static_cast<std::int64_t>(tokens.size());
    write_cache_file(path_of(name), key_, tokens, {end - page_positions_, end}, page);
    note(name, fs::file_size(path_of(name)));
  } catch (const std::exception& error) {
    has_failed_ = true;
    log_warning("prefixes are kept in memory alone from now on: {}", error.what());
  }
}

std::uint64_t PrefixStore::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

}  // namespace fathom
