#include "io/async_reader.h"

#include <fmt/core.h>

#include <string>

#include "base/error.h"
#include "io/pread_backend.h"
#include "io/uring_backend.h"

namespace fathom {
namespace {

constexpr std::size_t kMostPieces = 16;

}  // namespace

AsyncReader::AsyncReader(const std::filesystem::path& path, ReadMethod method)
    : file_(path), queue_(kMostPieces) {
  std::string why = "as asked for";
  if (method == ReadMethod::best) backend_ = start_uring_backend(file_, queue_, kMostPieces, why);
  description_ = "io_uring";
  if (backend_ == nullptr) {
    constexpr std::size_t kThreads = 8;
    backend_ = std::make_unique<PreadBackend>(file_, queue_, kThreads);
    description_ = fmt::format("{} threads without io_uring ({})", kThreads, why);
  }
  description_ +=
      file_.is_direct() ? ", direct" : ", through the page cache: the file system cannot read directly";
}

AsyncReader::~AsyncReader() {
  queue_.close();
  wake();
  backend_.reset();
}

AsyncReader::Ticket AsyncReader::read(std::uint64_t offset, std::span<std::byte> into, ReadUrgency urgency,
                                      Done done) {
  constexpr std::uint64_t kUnit = DirectFile::kDirectAlignment;
  require(offset % kUnit == 0 && into.size() % kUnit == 0 &&
              reinterpret_cast<std::uintptr_t>(into.data()) % kUnit == 0,
          "{}: a direct read of {} bytes at {} is not aligned", file_.path().string(), into.size(), offset);
  const Ticket ticket = queue_.add(offset, into, urgency, std::move(done));
  wake();
  return ticket;
}

}  // namespace fathom
