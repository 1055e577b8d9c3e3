#include "io/pread_backend.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

#include "base/error.h"

namespace fathom {
namespace {

/// Fills `piece`. @return null, or why not
std::exception_ptr read_piece(const DirectFile& file, const ReadQueue::Piece& piece) {
  std::size_t at = 0;
  while (at < piece.into.size()) {
    const std::uint64_t place = piece.offset + at;
    const ssize_t got =
        pread(file.descriptor(), piece.into.data() + at, piece.into.size() - at, static_cast<off_t>(place));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return read_error(file, place, got == 0 ? 0 : errno);
    at += static_cast<std::size_t>(got);
  }
  return nullptr;
}

}  // namespace

std::exception_ptr read_error(const DirectFile& file, std::uint64_t place, int error_number) {
  // Directly, what comes after an end within a block is no legal place.
  const bool ends =
      error_number == 0 || (error_number == EINVAL && place % DirectFile::kDirectAlignment != 0);
  return std::make_exception_ptr(
      Error(ends ? fmt::format("{}: ends at byte {}, before what was to be read (truncated while in use?)",
                               file.path().string(), place)
                 : fmt::format("{}: cannot read at byte {}: {}", file.path().string(), place,
                               errno_text(error_number))));
}

PreadBackend::PreadBackend(const DirectFile& file, ReadQueue& queue, std::size_t threads)
    : file_(file), queue_(queue) {
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

PreadBackend::~PreadBackend() {
  for (std::thread& thread : threads_) thread.join();
}

void PreadBackend::work() {
  while (const std::optional<ReadQueue::Piece> piece = queue_.take())
    queue_.finish(*piece, read_piece(file_, *piece));
}

}  // namespace fathom
