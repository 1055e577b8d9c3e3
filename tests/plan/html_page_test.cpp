#include "plan/html_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(HtmlPageTest, TextsAreEscapedAndPicturesAreNot) {
  HtmlPage page("<title>");
  page.add_heading("a < b");
  page.add_paragraph("<script>");
  page.add_table({{"<th>"}, {"<td>"}}, 0);
  const TitledRows facts = {"<h2>", {{"<name>", "<value>"}}};
  page.add_facts({&facts, 1});
  page.add_tiles({{"<small>", "<b>"}});
  page.add_picture("<svg></svg>");
  const std::string text = page.text();
  EXPECT_THAT(text, Not(HasSubstr("<script>")));
  EXPECT_THAT(text, HasSubstr("<h1>&lt;title&gt;</h1>"));
  EXPECT_THAT(text, HasSubstr("<th class=\"right\">&lt;th&gt;</th>"));
  EXPECT_THAT(text, HasSubstr("<td class=\"right\">&lt;td&gt;</td>"));
  EXPECT_THAT(text, HasSubstr("<h2>&lt;h2&gt;</h2>"));
  EXPECT_THAT(text, HasSubstr("<td>&lt;name&gt;</td><td class=\"right\">&lt;value&gt;</td>"));
  EXPECT_THAT(text, HasSubstr("<b>&lt;b&gt;</b>"));
  EXPECT_THAT(text, HasSubstr("<svg></svg>"));
}

}  // namespace
}  // namespace fathom
