#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "base/progress.h"

namespace fathom {
namespace {

TEST(FormatTest, Durations) {
  EXPECT_EQ(format_duration(1.25), "1.2 s");
  EXPECT_EQ(format_duration(185), "3m 05s");
  EXPECT_EQ(format_duration(7800), "2h 10m");
  EXPECT_EQ(format_duration(59.96), "1m 00s");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::quiet_NaN()), "?");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "?");
}

TEST(FormatTest, Bytes) {
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(1048575), "1.0 MiB");
  EXPECT_EQ(format_bytes(std::uint64_t{9} << 30U), "9.0 GiB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "16777216.0 TiB");
}

TEST(FormatTest, Counts) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(671026419200), "671,026,419,200");
}

TEST(ErrorTest, MessagesAreFormattedAndUsageErrorsAreErrors) {
  try {
    require(1 + 1 == 3, "{} is not {}", 2, "three");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "2 is not three");
  }
  EXPECT_NO_THROW(require(true, "never"));
  EXPECT_THROW(throw UsageError("wrong option"), Error);
}

}  // namespace
}  // namespace fathom
