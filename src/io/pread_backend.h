#pragma once

#include <cstddef>
#include <thread>
#include <vector>

#include "io/async_reader.h"

namespace fathom {

/// Threads that each read a piece at a time.
class PreadBackend final : public AsyncReader::Backend {
 public:
  /// Keeps references. The threads end when the queue is closed.
  PreadBackend(const DirectFile& file, ReadQueue& queue, std::size_t threads);
  ~PreadBackend() override;
  PreadBackend(const PreadBackend&) = delete;
  PreadBackend& operator=(const PreadBackend&) = delete;

  void wake() override {}  // the queue does

 private:
  void work();

  const DirectFile& file_;
  ReadQueue& queue_;
  std::vector<std::thread> threads_;
};

/// Why a piece could not be read: `result` is what the system returned, 0 at the end of the file, else an
/// error number. @param place  where it was to go on
std::exception_ptr read_error(const DirectFile& file, std::uint64_t place, int error_number);

}  // namespace fathom
