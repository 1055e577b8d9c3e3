#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "train/entry_file.h"

namespace fathom {

/// Sorts more entries than the memory holds: sorted runs go to files, which are merged. Memory: the budget,
/// and while merging a small buffer for each run.
/// @tparam Entry  trivially copyable, ordered by `<`
template <typename Entry>
class ExternalSorter {
  static_assert(std::is_trivially_copyable_v<Entry>);

 public:
  /// @param files_begin_with  path of the run files without their numbers; they are removed at the end
  ExternalSorter(std::filesystem::path files_begin_with, std::size_t budget_bytes)
      : prefix_(std::move(files_begin_with)),
        capacity_(std::max<std::size_t>(1, budget_bytes / sizeof(Entry))) {}
  ~ExternalSorter() {
    std::error_code ignored;
    for (std::size_t i = 0; i < runs_; ++i) std::filesystem::remove(run_file(i), ignored);
  }
  ExternalSorter(const ExternalSorter&) = delete;
  ExternalSorter& operator=(const ExternalSorter&) = delete;

  void add(const Entry& entry) {
    if (entries_.size() == capacity_) write_run();
    entries_.push_back(entry);
  }

  /// Calls `take` with all entries in ascending order. To be called once.
  void for_each_sorted(const std::function<void(const Entry&)>& take) {
    std::sort(entries_.begin(), entries_.end());
    if (runs_ == 0) {
      for (const Entry& entry : entries_) take(entry);
      return;
    }
    write_run();
    entries_ = {};
    merge(take);
  }

 private:
  [[nodiscard]] std::filesystem::path run_file(std::size_t run) const {
    return prefix_.string() + "." + std::to_string(run);
  }

  void write_run() {
    std::sort(entries_.begin(), entries_.end());
    const std::filesystem::path file = run_file(runs_++);
    std::ofstream out(file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(entries_.data()),
              static_cast<std::streamsize>(entries_.size() * sizeof(Entry)));
    out.close();
    require(out.good(), "{}: cannot write: is the disk full?", file.string());
    entries_.clear();
  }

  void merge(const std::function<void(const Entry&)>& take) {
    std::vector<std::unique_ptr<EntryFile<Entry>>> runs;
    const auto later = [](const auto& a, const auto& b) { return b.first < a.first; };
    using Head = std::pair<Entry, std::size_t>;
    std::priority_queue<Head, std::vector<Head>, decltype(later)> heads(later);
    for (std::size_t i = 0; i < runs_; ++i) {
      runs.push_back(std::make_unique<EntryFile<Entry>>(run_file(i)));
      Entry first;
      if (runs.back()->next(first)) heads.emplace(first, i);
    }
    while (!heads.empty()) {
      auto [entry, run] = heads.top();
      heads.pop();
      take(entry);
      if (runs[run]->next(entry)) heads.emplace(entry, run);
    }
  }

  std::filesystem::path prefix_;
  std::size_t capacity_;
  std::vector<Entry> entries_;
  std::size_t runs_ = 0;
};

}  // namespace fathom
