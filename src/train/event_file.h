#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace fathom {

/// One value of a curve.
struct Scalar {
  std::string tag;  // names the curve; a part before "/" groups it
  double value = 0;
};

/// Records of TensorBoard's event files. The format is TFRecord (length, checksum of it, data, checksum of
/// that; checksums are masked CRC-32C) around protocol buffers of the message `tensorflow.Event`.
/// @param wall_time  seconds since 1970
std::string version_record(double wall_time);
/// Tells readers that events of `step` and later in earlier files are void.
std::string start_record(double wall_time, std::int64_t step);
std::string scalars_record(double wall_time, std::int64_t step, std::span<const Scalar> scalars);

/// An event file that grows by whole records.
class EventFile {
 public:
  /// Makes a new file named as TensorBoard expects, later in order than those there are.
  /// @param next_step  the first step that this file will tell of
  EventFile(const std::filesystem::path& folder, std::int64_t next_step);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  /// Dated now.
  void append(std::int64_t step, std::span<const Scalar> scalars);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;

  void write(std::string_view record);
};

/// Cuts the event files of a folder where they tell of steps after `last_step`, or are damaged (a crash), and
/// removes those that then hold nothing.
void truncate_event_files(const std::filesystem::path& folder, std::int64_t last_step);

}  // namespace fathom
