#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace fathom {
namespace {

std::uint32_t crc_of(const std::string& text) {
  return crc32c(std::as_bytes(std::span(text)));
}

// RFC 3720, appendix B.4, and the check value of the CRC catalogues.
TEST(Crc32cTest, KnownVectors) {
  std::string rising;
  for (char c = 0; c < 32; ++c) rising += c;
  EXPECT_EQ(crc_of(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc_of(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc_of(rising), 0x46dd794eU);
  EXPECT_EQ(crc_of("123456789"), 0xe3069283U);
  EXPECT_EQ(crc_of(""), 0U);
}

}  // namespace
}  // namespace fathom
