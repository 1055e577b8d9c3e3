#include "base/markup.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(MarkupTest, WhatWouldBeATagOrEndAnAttributeStaysText) {
  EXPECT_EQ(escape_markup("a<script>\"&\"</script>é"), "a&lt;script&gt;&quot;&amp;&quot;&lt;/script&gt;é");
}

}  // namespace
}  // namespace fathom
