#pragma once

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace fathom::test {

/// Reads the values of a golden file one after another.
class BinaryReader {
 public:
  explicit BinaryReader(const std::filesystem::path& path) : bytes_(read_text_file(path, 64U << 20U)) {}

  template <typename T>
  T next() {
    return next_array<T>(1).front();
  }

  template <typename T>
  std::vector<T> next_array(std::size_t count) {
    require(count <= (bytes_.size() - at_) / sizeof(T), "a golden file ends too early");
    std::vector<T> values(count);
    if (count > 0) std::memcpy(values.data(), bytes_.data() + at_, count * sizeof(T));
    at_ += count * sizeof(T);
    return values;
  }

  [[nodiscard]] bool at_end() const { return at_ == bytes_.size(); }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
};

}  // namespace fathom::test
