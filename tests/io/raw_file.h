#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/file.h"

namespace fathom::test {

/// A safetensors file with just this header and this many bytes of data, whatever they mean: 0, 1, 2, ...
inline std::string raw_safetensors(std::string_view header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  file += header;
  for (std::size_t i = 0; i < data_bytes; ++i) file += static_cast<char>(i);
  return file;
}

inline void write_raw_safetensors(const std::filesystem::path& path, std::string_view header,
                                  std::size_t data_bytes) {
  write_file_atomically(path, raw_safetensors(header, data_bytes));
}

}  // namespace fathom::test
