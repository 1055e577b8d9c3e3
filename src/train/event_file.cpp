#include "train/event_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <climits>
#include <fstream>
#include <optional>
#include <system_error>
#include <vector>

#include "base/crc32c.h"
#include "base/error.h"

namespace fathom {
namespace {

constexpr std::string_view kNamePrefix = "events.out.tfevents.";
constexpr std::string_view kFileVersion = "brain.Event:2";
constexpr std::size_t kHeaderBytes = 12;       // length and its checksum
constexpr std::size_t kTrailerBytes = 4;       // checksum of the data
constexpr std::uint64_t kMostBytes = 1 << 20;  // of one record; ours have some hundred

// Numbers of fields in tensorflow/core/util/event.proto and framework/summary.proto.
constexpr std::uint32_t kEventWallTime = 1;
constexpr std::uint32_t kEventStep = 2;
constexpr std::uint32_t kEventFileVersion = 3;
constexpr std::uint32_t kEventSummary = 5;
constexpr std::uint32_t kEventSessionLog = 7;
constexpr std::uint32_t kSummaryValue = 1;
constexpr std::uint32_t kValueTag = 1;
constexpr std::uint32_t kValueSimple = 2;
constexpr std::uint32_t kSessionStatus = 1;
constexpr std::uint64_t kSessionStart = 1;

// Wire types of protocol buffers.
constexpr std::uint32_t kVarint = 0;
constexpr std::uint32_t kFixed64 = 1;
constexpr std::uint32_t kBytes = 2;
constexpr std::uint32_t kFixed32 = 5;

/// A protocol buffer under construction.
class Message {
 public:
  Message& varint(std::uint32_t field, std::uint64_t value) {
    key(field, kVarint);
    raw_varint(value);
    return *this;
  }
  Message& fixed64(std::uint32_t field, double value) {
    key(field, kFixed64);
    little_endian(std::bit_cast<std::uint64_t>(value), sizeof(double));
    return *this;
  }
  Message& fixed32(std::uint32_t field, float value) {
    key(field, kFixed32);
    little_endian(std::bit_cast<std::uint32_t>(value), sizeof(float));
    return *this;
  }
  Message& bytes(std::uint32_t field, std::string_view value) {
    key(field, kBytes);
    raw_varint(value.size());
    text_ += value;
    return *this;
  }
  void little_endian(std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) text_ += static_cast<char>(value >> (8 * i) & 0xffU);
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;

  void key(std::uint32_t field, std::uint32_t type) { raw_varint(field << 3U | type); }
  void raw_varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7U) text_ += static_cast<char>((value & 0x7fU) | 0x80U);
    text_ += static_cast<char>(value);
  }
};

/// A checksum as TFRecord stores it: of data that holds checksums itself, plain ones would be weak.
std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(std::as_bytes(std::span(bytes)));
  return (crc >> 15U | crc << 17U) + 0xa282ead8U;
}

std::string record(std::string_view data) {
  Message length;
  length.little_endian(data.size(), sizeof(std::uint64_t));
  Message whole = length;
  whole.little_endian(masked_crc(length.text()), sizeof(std::uint32_t));
  std::string text = whole.text() + std::string(data);
  Message trailer;
  trailer.little_endian(masked_crc(data), sizeof(std::uint32_t));
  return text + trailer.text();
}

/// As protocol buffers have it, a value of 0 is left out.
Message event(double wall_time, std::int64_t step) {
  Message message;
  message.fixed64(kEventWallTime, wall_time);
  if (step != 0) message.varint(kEventStep, static_cast<std::uint64_t>(step));
  return message;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Takes values off the front of bytes from outside; once there are too few, `good` is false.
struct Reader {
  std::string_view rest;
  bool good = true;

  std::string_view take(std::uint64_t count) {
    if (count > rest.size()) {
      good = false;
      return {};
    }
    const std::string_view taken = rest.substr(0, static_cast<std::size_t>(count));
    rest.remove_prefix(static_cast<std::size_t>(count));
    return taken;
  }
  std::uint64_t little_endian(std::size_t size) {
    std::uint64_t value = 0;
    const std::string_view bytes = take(size);
    for (std::size_t i = 0; i < bytes.size(); ++i)
      value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (std::uint32_t shift = 0; shift < 64; shift += 7) {
      const std::uint64_t byte = little_endian(1);
      value |= (byte & 0x7fU) << shift;
      if (byte < 0x80) return value;
    }
    good = false;
    return 0;
  }
};

/// The step of an event; nothing when the bytes are no message.
std::optional<std::int64_t> step_of_event(std::string_view data) {
  std::int64_t step = 0;
  Reader reader{data};
  while (reader.good && !reader.rest.empty()) {
    const std::uint64_t key = reader.varint();
    switch (key & 7U) {
      case kVarint: {
        const std::uint64_t value = reader.varint();
        if (key >> 3U == kEventStep) step = static_cast<std::int64_t>(value);
        break;
      }
      case kFixed64:
        reader.take(sizeof(std::uint64_t));
        break;
      case kBytes:
        reader.take(reader.varint());
        break;
      case kFixed32:
        reader.take(sizeof(std::uint32_t));
        break;
      default:
        return std::nullopt;
    }
  }
  return reader.good ? std::optional(step) : std::nullopt;
}

/// The next record's data; nothing at the end of the file, or where it is damaged.
std::optional<std::string> read_record(std::istream& in) {
  std::string header(kHeaderBytes, '\0');
  if (!in.read(header.data(), kHeaderBytes)) return std::nullopt;
  Reader reader{header};
  const std::uint64_t length = reader.little_endian(sizeof(std::uint64_t));
  if (reader.little_endian(sizeof(std::uint32_t)) != masked_crc(header.substr(0, sizeof(std::uint64_t))) ||
      length > kMostBytes)
    return std::nullopt;
  std::string data(static_cast<std::size_t>(length) + kTrailerBytes, '\0');
  if (!in.read(data.data(), static_cast<std::streamsize>(data.size()))) return std::nullopt;
  reader = {std::string_view(data).substr(static_cast<std::size_t>(length))};
  const std::uint64_t checksum = reader.little_endian(sizeof(std::uint32_t));
  data.resize(static_cast<std::size_t>(length));
  if (checksum != masked_crc(data)) return std::nullopt;
  return data;
}

/// Bytes at the head of an event file that hold whole records of steps up to `last_step`; 0 when there is
/// none but the file's version.
std::uint64_t kept_bytes(const std::filesystem::path& file, std::int64_t last_step) {
  std::ifstream in(file, std::ios::binary);
  std::uint64_t kept = 0;
  int records = 0;
  for (std::optional<std::string> data; (data = read_record(in)); ++records) {
    const std::optional<std::int64_t> step = step_of_event(*data);
    if (!step || *step > last_step) break;
    kept += kHeaderBytes + data->size() + kTrailerBytes;
  }
  return records > 1 ? kept : 0;
}

std::string host_name() {
  std::string name(HOST_NAME_MAX + 1, '\0');
  if (gethostname(name.data(), name.size()) != 0) return "localhost";
  name.resize(std::min(name.find('\0'), name.size()));
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

}  // namespace

std::string version_record(double wall_time) {
  return record(event(wall_time, 0).bytes(kEventFileVersion, kFileVersion).text());
}

std::string start_record(double wall_time, std::int64_t step) {
  Message session;
  session.varint(kSessionStatus, kSessionStart);
  return record(event(wall_time, step).bytes(kEventSessionLog, session.text()).text());
}

std::string scalars_record(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
  Message summary;
  for (const Scalar& scalar : scalars) {
    Message value;
    value.bytes(kValueTag, scalar.tag).fixed32(kValueSimple, static_cast<float>(scalar.value));
    summary.bytes(kSummaryValue, value.text());
  }
  return record(event(wall_time, step).bytes(kEventSummary, summary.text()).text());
}

EventFile::EventFile(const std::filesystem::path& folder, std::int64_t next_step) {
  // Readers take files by name: the time comes first, and a counter tells starts within a second apart.
  const double time = now();
  for (int count = 0; descriptor_ < 0; ++count) {
    path_ = folder / fmt::format("{}{:010}.{:03}.{}.{}", kNamePrefix, static_cast<std::int64_t>(time), count,
                                 host_name(), getpid());
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    require(descriptor_ >= 0 || errno == EEXIST, "{}: cannot write: {}", path_.string(), errno_text(errno));
  }
  try {
    write(version_record(time) + start_record(time, next_step));
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

EventFile::~EventFile() {
  close(descriptor_);
}

void EventFile::append(std::int64_t step, std::span<const Scalar> scalars) {
  write(scalars_record(now(), step, scalars));
}

void EventFile::write(std::string_view record) {
  while (!record.empty()) {
    const ssize_t written = ::write(descriptor_, record.data(), record.size());
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "{}: cannot write: {}", path_.string(), errno_text(errno));
    record.remove_prefix(static_cast<std::size_t>(written));
  }
}

void truncate_event_files(const std::filesystem::path& folder, std::int64_t last_step) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with(kNamePrefix) && entry.is_regular_file())
      files.push_back(entry.path());
  for (const std::filesystem::path& file : files) {
    const std::uint64_t kept = kept_bytes(file, last_step);
    std::error_code error;
    if (kept == 0) {
      std::filesystem::remove(file, error);
    } else if (kept != std::filesystem::file_size(file)) {
      std::filesystem::resize_file(file, kept, error);
    }
    require(!error, "{}: cannot write: {}", file.string(), error.message());
  }
}

}  // namespace fathom
