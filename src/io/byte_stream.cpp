#include "io/byte_stream.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace fathom {
namespace {

constexpr std::size_t kInputBuffer = 256U << 10U;

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(const std::filesystem::path& path) : file_(path) {}
  std::size_t read(std::span<std::byte> out) override { return file_.read(out); }
  [[nodiscard]] std::uint64_t file_bytes_read() const override { return file_.bytes_read(); }

 private:
  InputFile file_;
};

/// The compressed bytes, a buffer at a time.
class InputBuffer {
 public:
  explicit InputBuffer(const std::filesystem::path& path) : file_(path), buffer_(kInputBuffer) {}

  /// What is read and not yet taken, after reading on if that was nothing. Empty at the end of the file.
  std::span<const std::byte> peek() {
    if (left_.empty()) left_ = std::span(buffer_).first(file_.read(buffer_));
    return left_;
  }
  void take(std::size_t bytes) { left_ = left_.subspan(bytes); }
  [[nodiscard]] std::uint64_t file_bytes_read() const { return file_.bytes_read() - left_.size(); }
  [[nodiscard]] std::string name() const { return file_.path().string(); }

 private:
  InputFile file_;
  std::vector<std::byte> buffer_;
  std::span<const std::byte> left_;
};

class GzipStream final : public ByteStream {
 public:
  explicit GzipStream(const std::filesystem::path& path) : input_(path) {
    constexpr int kGzipWrapper = 16;
    require(inflateInit2(&inflater_, MAX_WBITS + kGzipWrapper) == Z_OK, "{}: no memory to decompress it",
            input_.name());
  }
  ~GzipStream() override { inflateEnd(&inflater_); }

  std::size_t read(std::span<std::byte> out) override {
    inflater_.next_out = reinterpret_cast<Bytef*>(out.data());
    inflater_.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), kLargestCall));
    const uInt room = inflater_.avail_out;
    while (inflater_.avail_out == room && (in_member_ || begin_member())) inflate_some();
    return room - inflater_.avail_out;
  }
  [[nodiscard]] std::uint64_t file_bytes_read() const override { return input_.file_bytes_read(); }

 private:
  static constexpr std::size_t kLargestCall = std::numeric_limits<uInt>::max();

  /// @return false at the end of the file
  bool begin_member() {
    std::span<const std::byte> bytes = input_.peek();
    while (members_ > 0 && !bytes.empty() && bytes.front() == std::byte{0}) {
      input_.take(1);
      bytes = input_.peek();
    }
    if (bytes.empty()) return false;
    inflateReset(&inflater_);
    in_member_ = true;
    return true;
  }

  void inflate_some() {
    const std::span<const std::byte> bytes = input_.peek();
    require(!bytes.empty() || (members_ > 0 && inflater_.total_in < 2),
            "{}: the gzip data is cut short: fetch the file again", input_.name());
    if (bytes.empty()) fail_after_data();
    inflater_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
    inflater_.avail_in = static_cast<uInt>(bytes.size());
    const int status = inflate(&inflater_, Z_NO_FLUSH);
    // The library says so only when it has read the two bytes that all members begin with.
    const bool no_member = status == Z_DATA_ERROR && inflater_.total_out == 0 && inflater_.total_in <= 2;
    if (no_member && members_ > 0) fail_after_data();
    require(!no_member, "{}: not gzip data, though its name ends in .gz", input_.name());
    require(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR,
            "{}: the gzip data is damaged near byte {} ({}): fetch the file again", input_.name(),
            input_.file_bytes_read(), inflater_.msg != nullptr ? inflater_.msg : "no reason given");
    input_.take(bytes.size() - inflater_.avail_in);
    if (status == Z_STREAM_END) {
      in_member_ = false;
      ++members_;
    }
  }

  [[noreturn]] void fail_after_data() const {
    fail("{}: after the gzip data, near byte {}, stands something else", input_.name(),
         input_.file_bytes_read());
  }

  InputBuffer input_;
  z_stream inflater_{};
  bool in_member_ = false;
  std::uint64_t members_ = 0;  // read to their end
};

class ZstdStream final : public ByteStream {
 public:
  explicit ZstdStream(const std::filesystem::path& path) : input_(path), context_(ZSTD_createDCtx()) {
    require(context_ != nullptr, "{}: no memory to decompress it", input_.name());
  }

  std::size_t read(std::span<std::byte> out) override {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos == 0) {
      const std::span<const std::byte> bytes = input_.peek();
      if (bytes.empty() && !in_frame_) return 0;
      ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
      const std::size_t status = ZSTD_decompressStream(context_.get(), &output, &input);
      require_good(status);
      input_.take(input.pos);
      in_frame_ = status != 0;
      require(!bytes.empty() || output.pos > 0 || !in_frame_,
              "{}: the zstd data is cut short: fetch the file again", input_.name());
    }
    return output.pos;
  }
  [[nodiscard]] std::uint64_t file_bytes_read() const override { return input_.file_bytes_read(); }

 private:
  void require_good(std::size_t status) const {
    if (ZSTD_isError(status) == 0U) return;
    const ZSTD_ErrorCode code = ZSTD_getErrorCode(status);
    require(code != ZSTD_error_prefix_unknown || input_.file_bytes_read() == 0,
            "{}: after the zstd data, near byte {}, stands something else", input_.name(),
            input_.file_bytes_read());
    require(code != ZSTD_error_prefix_unknown, "{}: not zstd data, though its name ends in .zst",
            input_.name());
    require(code != ZSTD_error_frameParameter_windowTooLarge,
            "{}: compressed with a window above 128 MiB: compress it again without --long", input_.name());
    fail("{}: the zstd data is damaged near byte {} ({}): fetch the file again", input_.name(),
         input_.file_bytes_read(), ZSTD_getErrorName(status));
  }

  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };

  InputBuffer input_;
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  bool in_frame_ = false;
};

}  // namespace

Compression compression_of(const std::filesystem::path& path) {
  if (path.extension() == ".gz") return Compression::gzip;
  return path.extension() == ".zst" ? Compression::zstd : Compression::none;
}

std::unique_ptr<ByteStream> open_byte_stream(const std::filesystem::path& path) {
  switch (compression_of(path)) {
    case Compression::gzip:
      return std::make_unique<GzipStream>(path);
    case Compression::zstd:
      return std::make_unique<ZstdStream>(path);
    case Compression::none:
      break;
  }
  return std::make_unique<PlainStream>(path);
}

}  // namespace fathom
