#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "io/async_reader.h"

namespace fathom {

/// One thread that gives the system up to `most_pieces` reads at a time. Keeps references; the thread ends
/// when the queue is closed.
/// @param why  where there is no such backend: the reason
/// @return null where the system has no io_uring or forbids it
std::unique_ptr<AsyncReader::Backend> start_uring_backend(const DirectFile& file, ReadQueue& queue,
                                                          std::size_t most_pieces, std::string& why);

}  // namespace fathom
