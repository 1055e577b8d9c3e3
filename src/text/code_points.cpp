#include "text/code_points.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <string>

#include "text/utf8.h"

namespace fathom {
namespace {

/// @param last  of as many bytes as `first`, and with it in a block that is whole in every later byte
std::vector<ByteRange> one_sequence(std::uint32_t first, std::uint32_t last) {
  std::string low;
  std::string high;
  append_code_point(first, low);
  append_code_point(last, high);
  std::vector<ByteRange> ranges;
  for (std::size_t i = 0; i < low.size(); ++i)
    ranges.push_back({static_cast<std::uint8_t>(low[i]), static_cast<std::uint8_t>(high[i])});
  return ranges;
}

/// The last character, from `first` to `last`, up to which all have as many bytes and the ranges of bytes are
/// independent of each other.
std::uint32_t end_of_sequence(std::uint32_t first, std::uint32_t last) {
  for (const std::uint32_t longest : {0x7FU, 0x7FFU, 0xFFFFU})
    if (first <= longest) {
      last = std::min(last, longest);
      break;
    }
  if (last < 0x80) return last;
  // A later byte may take its whole range only where the earlier ones differ: cut off what is before the
  // first whole block of 64, 4096, ... characters, or after the last one.
  for (const std::uint32_t block :
       {std::uint32_t{1} << 6U, std::uint32_t{1} << 12U, std::uint32_t{1} << 18U}) {
    if (first / block == last / block) break;
    if (first % block != 0) return first | (block - 1);
    if ((last + 1) % block != 0) return last / block * block - 1;
  }
  return last;
}

}  // namespace

std::uint32_t first_code_point(std::string_view text) {
  const auto lead = static_cast<std::uint8_t>(text.front());
  const auto ones = static_cast<std::size_t>(std::countl_one(lead));  // 0, or as many as there are bytes
  std::uint32_t code_point = lead & (0xFFU >> (ones + 1));
  for (std::size_t i = 1; i < ones; ++i)
    code_point = code_point << 6U | (static_cast<std::uint8_t>(text[i]) & 0x3FU);
  return code_point;
}

std::vector<std::vector<ByteRange>> utf8_ranges(std::uint32_t first, std::uint32_t last) {
  std::vector<std::vector<ByteRange>> sequences;
  while (first <= last) {
    const std::uint32_t end = end_of_sequence(first, last);
    sequences.push_back(one_sequence(first, end));
    first = end + 1;
  }
  return sequences;
}

}  // namespace fathom
