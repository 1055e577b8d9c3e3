#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace fathom {

/// The folder of one training run:
///
///     config.json               what is trained and how: the config file with all overrides applied
///     metrics.jsonl             train/metrics.h
///     report.html               train/report.h
///     needle.svg                train/needle_picture.h, where training.needle_length asks for it
///     latest -> checkpoints/... the newest checkpoint
///     checkpoints/step-000400/  train/checkpoint.h
///     lock                      held by the process that trains
///
/// A checkpoint is written into a folder of another name and renamed when it is whole and durable; one to be
/// removed is renamed first. So a folder named step-... is always a whole checkpoint.
class RunFolder {
 public:
  /// Makes the folder if need be, takes its lock, and clears away what an interrupted process left half-way.
  /// A folder that it made and that nothing was written to goes away with the object.
  /// Throws `Error` when the folder cannot be written to, or when another process trains in it.
  explicit RunFolder(std::filesystem::path path);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path config_file() const { return path_ / "config.json"; }
  [[nodiscard]] std::filesystem::path metrics_file() const { return path_ / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path report_file() const { return path_ / "report.html"; }
  [[nodiscard]] std::filesystem::path needle_file() const { return path_ / "needle.svg"; }
  [[nodiscard]] std::filesystem::path checkpoint(std::int64_t step) const {
    return checkpoint_of(path_, step);
  }
  /// The same of a run that another process trains.
  [[nodiscard]] static std::filesystem::path checkpoint_of(const std::filesystem::path& run,
                                                           std::int64_t step);

  /// Steps of the checkpoints, ascending.
  [[nodiscard]] std::vector<std::int64_t> checkpoints() const;
  [[nodiscard]] std::optional<std::int64_t> newest_checkpoint() const;

  /// A new empty folder to write the checkpoint of `step` into.
  [[nodiscard]] std::filesystem::path begin_checkpoint(std::int64_t step) const;
  /// Removes that folder, which could not be filled; no error, as one is on its way already.
  void abandon_checkpoint(std::int64_t step) const;
  /// Gives what was written there its name, durably; points `latest` at it; removes all but the newest `keep`
  /// checkpoints (0: none).
  void publish_checkpoint(std::int64_t step, std::int64_t keep) const;

 private:
  std::filesystem::path path_;
  bool made_ = false;  // by this object
  int lock_ = -1;

  [[nodiscard]] std::filesystem::path writing(std::int64_t step) const;
  void take_lock();
  void clear_leftovers() const;
  void remove_if_unused() const;
};

}  // namespace fathom
