#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/json.h"
#include "posttrain/task.h"

namespace fathom {

/// What decides which answers an evaluation gets.
struct EvalSettings {
  std::string model;        // a name, for readers
  std::string fingerprint;  // of config and weights
  std::string split = "test";
  std::uint64_t seed = 0;
  std::string format;  // of prompts, see `PromptFormat::name`
  std::string prefix;  // see `AnswerRequest`
  double temperature = 1.0;
  double top_p = 1.0;
  std::int64_t max_tokens = 1024;
  std::int64_t think_tokens = 0;

  bool operator==(const EvalSettings&) const = default;
};

/// One answer of an evaluation.
struct EvalSample {
  std::string task;
  std::int64_t index = 0;    // of the problem
  std::int64_t sample = -1;  // from 0 on; -1: the greedy answer
  std::string id;            // of the problem
  std::string question;
  std::string reference;
  std::string text;
  std::int64_t tokens = 0;
  std::string reason;  // why it ended
  bool was_cut = false;
  Reward reward;

  [[nodiscard]] bool is_greedy() const { return sample < 0; }
  /// What there is one answer to.
  [[nodiscard]] std::tuple<std::string, std::int64_t, std::int64_t> key() const {
    return {task, index, sample};
  }
};

struct EvalRecord {
  EvalSettings settings;
  std::vector<EvalSample> samples;
};

/// Reads a file of samples: the settings in its first line, then a sample a line. A last line that a crash
/// cut short is left out. Throws `Error` naming file and line.
EvalRecord read_eval_record(const std::filesystem::path& file);

/// A file of samples that grows a line at a time, each written at once.
class EvalLog {
 public:
  /// Opens a file for more samples, or makes it. Throws `Error` naming the setting in which a file that is
  /// there differs, since its samples would be of something else.
  EvalLog(const std::filesystem::path& file, const EvalSettings& settings);
  ~EvalLog();
  EvalLog(const EvalLog&) = delete;
  EvalLog& operator=(const EvalLog&) = delete;

  /// Those that were there, and those that came since.
  [[nodiscard]] const std::vector<EvalSample>& samples() const { return samples_; }
  [[nodiscard]] bool has(const std::string& task, std::int64_t index, std::int64_t sample) const {
    return keys_.contains({task, index, sample});
  }
  void append(EvalSample sample);

 private:
  void write(std::string_view line);

  std::filesystem::path file_;
  int descriptor_ = -1;
  std::vector<EvalSample> samples_;
  std::set<std::tuple<std::string, std::int64_t, std::int64_t>> keys_;
};

}  // namespace fathom
