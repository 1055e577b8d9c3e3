#include "dist/messages.h"

#include <algorithm>
#include <cstdint>

#include "dist/collectives.h"

namespace fathom {

void send_message(Communicator& ranks, std::span<const std::byte> bytes, int to, int tag) {
  const std::uint64_t size = bytes.size();
  Transfers both;
  both.add(ranks.send(std::as_bytes(std::span(&size, 1)), to, tag));
  both.add(ranks.send(bytes, to, tag));
  both.wait();
}

std::vector<std::byte> receive_message(Communicator& ranks, int from, int tag) {
  std::uint64_t size = 0;
  ranks.receive(std::as_writable_bytes(std::span(&size, 1)), from, tag).wait();
  std::vector<std::byte> bytes(size);
  ranks.receive(bytes, from, tag).wait();
  return bytes;
}

void MessageReader::get_bytes(std::span<std::byte> to) {
  require(to.size() <= left_.size(), "a message ends {} bytes too early", to.size() - left_.size());
  std::copy_n(left_.begin(), to.size(), to.begin());
  left_ = left_.subspan(to.size());
}

}  // namespace fathom
