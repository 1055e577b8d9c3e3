#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "dist/communicator.h"

namespace fathom {

// Messages whose length the receiver does not know, and what they are made of: numbers and lists of them, one
// after another, as they lie in memory. Both sides are one program.

/// Sends a message and its length. Waits.
void send_message(Communicator& ranks, std::span<const std::byte> bytes, int to, int tag);
/// Receives what `send_message` sends. Waits.
std::vector<std::byte> receive_message(Communicator& ranks, int from, int tag);

/// Puts values into a message.
class MessageWriter {
 public:
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void put(const T& value) { put_bytes(std::as_bytes(std::span(&value, 1))); }
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void put(const std::vector<T>& values) {
    put(values.size());
    put_bytes(std::as_bytes(std::span(values)));
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void put_bytes(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }

  std::vector<std::byte> bytes_;
};

/// Takes them out in the same order. Throws `Error` where the message ends too early.
class MessageReader {
 public:
  explicit MessageReader(std::span<const std::byte> bytes) : left_(bytes) {}

  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void get(T& value) { get_bytes(std::as_writable_bytes(std::span(&value, 1))); }
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void get(std::vector<T>& values) {
    std::size_t count = 0;
    get(count);
    require(count <= left_.size() / sizeof(T), "a list of {} values in a message of {} bytes", count,
            left_.size());
    values.resize(count);
    get_bytes(std::as_writable_bytes(std::span(values)));
  }

 private:
  void get_bytes(std::span<std::byte> to);

  std::span<const std::byte> left_;
};

}  // namespace fathom
