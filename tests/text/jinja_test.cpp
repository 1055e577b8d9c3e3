#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jinja_support.h"
#include "support/error_text.h"

namespace fathom::test {
namespace {

using testing::HasSubstr;

/// What a template comes to: its text and ranges, or how it fails.
OrderedJson outcome(const std::string& source, const OrderedJson& variables) {
  try {
    const RenderedChat chat = ChatTemplate::parse(source, "t").render_variables(variables, time_of_goldens);
    OrderedJson result = {{"template", source}, {"text", chat.text}};
    if (!chat.generations.empty()) result["generations"] = chat.generations;
    return result;
  } catch (const ChatTemplateRefusal& refusal) {
    return {{"template", source}, {"failure", {"refusal", refusal.reason()}}};
  } catch (const Error&) {
    return {{"template", source}, {"failure", {"error", ""}}};
  }
}

TEST(JinjaTest, PrintsWhatJinja2PrintsAndFailsWhereItFails) {
  const OrderedJson goldens = template_golden("jinja_snippets.json");
  for (OrderedJson snippet : goldens["snippets"]) {
    if (snippet.contains("failure") && snippet["failure"][0] == "error") snippet["failure"][1] = "";
    EXPECT_EQ(outcome(snippet["template"], goldens["variables"]), snippet);
  }
  EXPECT_GE(goldens["snippets"].size(), 150U);
}

TEST(JinjaTest, ErrorsSayTheLine) {
  EXPECT_EQ(error_of([] { print_template("a\n{{ x +\n }}"); }),
            "t:3: '}}' is here, where an expression is expected");
  EXPECT_EQ(error_of([] { print_template("a\n\n{% if true %}\n{{ messages[0].nope.x }}{% endif %}"); }),
            "t:4: 'dict object' has no attribute 'nope'");
  EXPECT_EQ(error_of([] { print_template("{% include 'x' %}"); }),
            "t:1: the tag include is not supported: a chat template stands alone, and prints text as it is");
  EXPECT_EQ(error_of([] { print_template("{% macro m() %}\n{{ 1 + '' }}{% endmacro %}\n{{ m() }}"); }),
            "t:2: + does not go with values of type int and str");
  EXPECT_EQ(error_of([] { print_template("{{ 1|wordwrap }}"); }).substr(0, 5), "t:1: ");
}

TEST(JinjaTest, ErrorsStayOnOneLine) {
  EXPECT_EQ(error_of([] { print_template("{{ raise_exception('a\nb') }}"); }),
            "t:1: the template refuses: a\\x0ab");
}

TEST(JinjaTest, GenerationsInsideMacrosAreHidden) {
  const auto chat = ChatTemplate::parse(
                        "{% macro m() %}{% generation %}a{% endgeneration %}{% endmacro %}{{ m() }}"
                        "{% generation %}b{% endgeneration %}",
                        "t")
                        .render_variables(OrderedJson::object());
  EXPECT_EQ(chat.text, "ab");
  EXPECT_TRUE(chat.has_hidden_generation);
  EXPECT_THAT(chat.generations, testing::ElementsAre(testing::Pair(1, 2)));
}

TEST(JinjaTest, WholeNumbersEndAt64Bits) {
  EXPECT_EQ(print_template("{{ 9223372036854775807 }} {{ -9223372036854775807 - 1 }}"),
            "9223372036854775807 -9223372036854775808");
  EXPECT_THAT(error_of([] { print_template("{{ 9223372036854775807 + 1 }}"); }), HasSubstr("64 bits"));
  EXPECT_THAT(error_of([] { print_template("{{ 99999999999999999999 }}"); }), HasSubstr("64 bits"));
  EXPECT_THAT(error_of([] { print_template("", R"([{"content": 18446744073709551615}])"); }),
              HasSubstr("64 bits"));
}

}  // namespace
}  // namespace fathom::test
