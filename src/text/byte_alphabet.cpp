#include "text/byte_alphabet.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "text/utf8.h"

namespace fathom {
namespace {

constexpr std::size_t kAlphabetEnd = 0x100 + 68;  // one past the last code point used

struct Alphabet {
  std::array<std::uint16_t, 256> code_point{};
  std::array<std::int16_t, kAlphabetEnd> byte{};  // -1: not in the alphabet

  Alphabet() {
    byte.fill(-1);
    std::uint16_t next = 0x100;
    for (std::uint16_t value = 0; value < 256; ++value) {
      const bool itself =
          (value >= 0x21 && value <= 0x7E) || (value >= 0xA1 && value <= 0xAC) || value >= 0xAE;
      code_point[value] = itself ? value : next++;
      byte[code_point[value]] = static_cast<std::int16_t>(value);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet table;
  return table;
}

std::optional<std::string> decode(std::string_view spelled) {
  std::string bytes;
  bytes.reserve(spelled.size());
  for (std::size_t i = 0; i < spelled.size();) {
    const auto lead = static_cast<unsigned char>(spelled[i]);
    std::size_t code_point = lead;
    std::size_t length = 1;
    if (lead >= 0x80) {  // the alphabet needs two bytes at most
      if (lead < 0xC2 || lead >= 0xE0 || i + 1 == spelled.size()) return std::nullopt;
      code_point = ((lead & 0x1FU) << 6) | (static_cast<unsigned char>(spelled[i + 1]) & 0x3FU);
      length = 2;
    }
    if (code_point >= kAlphabetEnd || alphabet().byte[code_point] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(alphabet().byte[code_point]));
    i += length;
  }
  return bytes;
}

}  // namespace

std::string spell_bytes(std::string_view bytes) {
  std::string spelled;
  spelled.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    append_code_point(alphabet().code_point[static_cast<unsigned char>(byte)], spelled);
  }
  return spelled;
}

std::string bytes_of_spelling(std::string_view spelled) {
  return decode(spelled).value_or(std::string(spelled));
}

bool is_byte_spelling(std::string_view spelled) {
  return decode(spelled).has_value();
}

}  // namespace fathom
