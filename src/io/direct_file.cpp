#include "io/direct_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "base/error.h"

namespace fathom {
namespace {

/// Some file systems open a file so and refuse to read it.
bool reads_directly(int descriptor) {
  alignas(DirectFile::kDirectAlignment) std::array<std::byte, DirectFile::kDirectAlignment> block;
  return pread(descriptor, block.data(), block.size(), 0) >= 0;
}

}  // namespace

DirectFile::DirectFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  descriptor_ = open(path.c_str(), kFlags | O_DIRECT);
  is_direct_ = descriptor_ >= 0 && reads_directly(descriptor_);
  if (!is_direct_) {
    if (descriptor_ >= 0) close(descriptor_);
    descriptor_ = open(path.c_str(), kFlags);
  }
  require(descriptor_ >= 0, "{}: cannot open: {}", path.string(), errno_text(errno));
  struct stat status {};
  if (fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor_);
    fail("{}: not a regular file", path.string());
  }
}

DirectFile::~DirectFile() {
  close(descriptor_);
}

}  // namespace fathom
