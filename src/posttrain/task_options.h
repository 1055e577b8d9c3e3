#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// An option of a task, as help shows it.
struct TaskOption {
  std::string_view key;
  std::string_view standard;  // value where none is given; empty: must be given, or nothing
  std::string_view help;
};

/// "name:key=value,key=value". A comma that no "key=" follows belongs to the value before it.
class TaskOptions {
 public:
  /// Throws `UsageError` for text that is no such list or gives a key twice.
  explicit TaskOptions(std::string_view spec);

  [[nodiscard]] const std::string& task() const { return task_; }

  /// What may be given. Throws `UsageError` naming a key that is none of these, and the nearest that is.
  void allow(std::span<const TaskOption> options);

  // The value of an option, or its standard. Each throws `UsageError` naming task, key and what it may be.
  [[nodiscard]] std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most) const;
  [[nodiscard]] bool flag(std::string_view key) const;
  /// @return its place among `choices`
  [[nodiscard]] std::size_t choice(std::string_view key, std::span<const std::string_view> choices) const;
  [[nodiscard]] const std::string& text(std::string_view key) const;
  /// As `text`, which must not be empty.
  [[nodiscard]] const std::string& needed_text(std::string_view key) const;

  /// The task with those options that were given, in the order of their keys.
  [[nodiscard]] std::string name() const;

 private:
  [[noreturn]] void refuse(std::string_view key, std::string_view wanted) const;

  std::string task_;
  std::map<std::string, std::string, std::less<>> given_;
  std::map<std::string, std::string, std::less<>> values_;  // of all that may be given
};

}  // namespace fathom
