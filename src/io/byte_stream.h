#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace fathom {

/// The content of a file from its beginning to its end, decompressed as it is read.
class ByteStream {
 public:
  ByteStream() = default;
  virtual ~ByteStream() = default;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  /// Reads up to `out.size()` > 0 bytes of content. Throws `Error` naming the file when it is damaged.
  /// @return how many; 0 at the end alone
  virtual std::size_t read(std::span<std::byte> out) = 0;
  /// Bytes of the file itself read so far, compressed ones where it is compressed.
  [[nodiscard]] virtual std::uint64_t file_bytes_read() const = 0;
};

enum class Compression : std::uint8_t { none, gzip, zstd };

/// By the ending of the name: .gz, .zst, or none.
Compression compression_of(const std::filesystem::path& path);

/// Opens a file, compressed as its name says. A gzip file may have several members and zero bytes between and
/// after them, a zstd file several frames; anything else after the compressed data, and an end before its
/// time, are errors. Memory is bounded whatever the file says: windows of zstd above 128 MiB are refused.
std::unique_ptr<ByteStream> open_byte_stream(const std::filesystem::path& path);

}  // namespace fathom
