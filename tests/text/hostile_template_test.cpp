#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <algorithm>

#include "base/rng.h"
#include "jinja_support.h"
#include "support/error_text.h"

namespace fathom::test {
namespace {

using testing::HasSubstr;

std::string times(std::size_t count, std::string_view text) {
  std::string result;
  result.reserve(count * text.size());
  for (std::size_t i = 0; i < count; ++i) result += text;
  return result;
}

std::string print_error(const std::string& source) {
  return error_of([&] { print_template(source); });
}

TEST(HostileTemplateTest, NestingIsBoundedBeforeTheStackEnds) {
  constexpr std::size_t kMany = 20'000;
  for (const std::string& source :
       {"{{ " + times(kMany, "(") + "1" + times(kMany, ")") + " }}",
        "{{ " + times(kMany, "[") + times(kMany, "]") + " }}",
        "{{ " + times(kMany, "{1:") + "1" + times(kMany, "}") + " }}", "{{ " + times(kMany, "not ") + "1 }}",
        "{{ " + times(kMany, "-") + "1 }}", "{{ 1" + times(kMany, " + 1") + " }}",
        "{{ 1" + times(kMany, " or 1") + " }}", "{{ 1" + times(kMany, " ** 1") + " }}",
        "{{ x" + times(kMany, ".x") + " }}", "{{ x" + times(kMany, "[0]") + " }}",
        "{{ x" + times(kMany, "()") + " }}", "{{ x" + times(kMany, "|string") + " }}",
        "{{ 1" + times(kMany, " if 1 else 1") + " }}", "{{ 1 is x" + times(kMany, "[0]") + " }}",
        times(kMany, "{% if 1 %}") + times(kMany, "{% endif %}"),
        times(kMany, "{% for x in y %}") + times(kMany, "{% endfor %}"),
        "{% set " + times(kMany, "(") + "a" + times(kMany, ")") + " = 1 %}",
        times(kMany, "{% macro m() %}") + times(kMany, "{% endmacro %}"),
        times(kMany, "{% filter upper %}") + times(kMany, "{% endfilter %}")})
    EXPECT_THAT(print_error(source), HasSubstr("t:1: ")) << source.substr(0, 20);
}

TEST(HostileTemplateTest, LongTemplatesAreParsed) {
  EXPECT_EQ(print_template(times(20'000, "{% if false %}a{% endif %}")), "");
  EXPECT_EQ(
      print_template("{% if false %}" + times(5'000, "{% elif false %}{% set a = 1 %}") + "{% endif %}"), "");
  EXPECT_EQ(print_template("{{ ''" + times(20'000, " ~ 'x'") + " }}").size(), 20'000U);
  EXPECT_THAT(print_error(times(1U << 20U, "xx")), HasSubstr("longer than"));
  EXPECT_THAT(print_error(times(200'000, "{{1}}")), HasSubstr("tokens"));
}

TEST(HostileTemplateTest, EndlessWorkEnds) {
  EXPECT_THAT(print_error("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
              HasSubstr("does not come to an end"));
  EXPECT_THAT(print_error("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
              HasSubstr("calls itself too often"));
  EXPECT_THAT(print_error("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}"),
              HasSubstr("calls itself"));
  EXPECT_THAT(print_error("{% for x in [0] recursive %}{{ loop([0]) }}{% endfor %}"),
              HasSubstr("calls itself"));
  EXPECT_THAT(print_error("{% set n = namespace(x=[0]) %}{% for i in range(100) %}{% set n.x = [n.x, n.x] "
                          "%}{% endfor %}{{ n.x }}"),
              HasSubstr("t:1: "));
  EXPECT_THAT(
      print_error(
          "{% set n = namespace(x=[0]) %}{% for i in range(100) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
          "{{ n.x|tojson|length }}"),
      HasSubstr("t:1: "));
  EXPECT_THAT(
      print_error("{% set n = namespace(x=[0], y=[0]) %}{% for i in range(100) %}{% set n.x = [n.x, n.x] %}"
                  "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}"),
      HasSubstr("does not come to an end"));
  EXPECT_THAT(print_error("{% set n = namespace() %}{% set n.n = n %}{{ n }}"), HasSubstr("calls itself"));
  EXPECT_THAT(print_error("{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{% set t = s.replace('a', "
                          "'b') %}{% endfor %}"),
              HasSubstr("does not come to an end"));
  EXPECT_THAT(
      print_error(
          "{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{% set t = s.strip(s) %}{% endfor %}"),
      HasSubstr("does not come to an end"));
}

TEST(HostileTemplateTest, ValuesAreBounded) {
  for (const char* source :
       {"{{ 'x' * 1000000000 }}", "{{ 'x' * 9223372036854775807 }}", "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}", "{{ '%.1000000000f' % 1 }}", "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}", "{{ 'x'.center(1000000000) }}",
        "{{ 'x'.ljust(9223372036854775807) }}", "{{ 'x'.zfill(1000000000) }}",
        "{{ '\\t'.expandtabs(1000000000) }}", "{{ 'x\\ny'|indent(1000000000) }}",
        "{{ 'x'|center(1000000000) }}", "{{ [1]|tojson(indent=1000000000) }}",
        "{% set s = 'x' * 10000000 %}{{ s.replace('x', s) }}", "{% set s = 'x' * 10000000 %}{{ s.join(s) }}",
        "{% set s = 'x' * 10000000 %}{{ (s|list)|length }}", "{% set s = 'x' * 40000000 %}{{ s }}{{ s }}"})
    EXPECT_THAT(print_error(source), HasSubstr("t:1: ")) << source;
  EXPECT_THAT(print_error("{{ [0] * 1000000000 }}"), HasSubstr("longer than 1000000 items"));
  EXPECT_THAT(print_error("{{ [0, 1]|batch(1000000000, 'x')|list }}"),
              HasSubstr("longer than 1000000 items"));
  EXPECT_THAT(print_error("{{ []|slice(1000000000)|list }}"), HasSubstr("longer than 1000000 items"));
  EXPECT_THAT(print_error("{{ range(1000000000) }}"), HasSubstr("Range too big"));
  EXPECT_THAT(print_error("{{ range(9223372036854775807) }}"), HasSubstr("too large"));
  EXPECT_THAT(print_error("{{ range(-9223372036854775807, 9223372036854775807, 9223372036854775807) }}"),
              HasSubstr("too large"));
  EXPECT_THAT(print_error("{{ 7 ** 7 ** 7 ** 7 }}"), HasSubstr("64 bits"));
  EXPECT_THAT(print_error("{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = n.l + ['x' * "
                          "60000000 ~ i] %}{% endfor %}"),
              HasSubstr("MiB of memory"));
  EXPECT_THAT(
      print_error(
          "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}"),
      HasSubstr("nested deeper"));
  EXPECT_THAT(print_error("{% set n = namespace(x=[1]) %}{% for i in range(99999) %}{% set n.x = "
                          "n.x|reject('none') %}{% endfor %}"),
              HasSubstr("nested deeper"));
  EXPECT_THAT(print_error("{% for i in range(99999) %}{% for j in range(99) %}{% set n = namespace(x=i) %}{% "
                          "endfor %}{% endfor %}"),
              HasSubstr("t:1: "));
}

TEST(HostileTemplateTest, SearchingTakesNoProductOfLengths) {
  const std::string many = "{% set s = 'a' * 30000000 %}{% set p = 'a' * 15000000 ~ 'b' %}";
  EXPECT_EQ(print_template(many + "{{ p in s }}{{ s.find(p) }}{{ s.count(p) }}{{ s.split(p)|length }}"),
            "False-101");
  for (const char* use :
       {"{{ s.rfind(p) }}", "{{ s.rsplit(p) }}", "{{ s.rpartition(p) }}", "{{ s.strip(p) }}"})
    EXPECT_THAT(print_error(many + use), HasSubstr("does not come to an end")) << use;
  EXPECT_THAT(print_error("{% set s = 'a ' * 30000000 %}{{ s.split()|length }}"), HasSubstr("1000000 items"));
  EXPECT_THAT(
      print_error("{% set k = 'k' * 1000000 %}{% set d = {k ~ 1: 1, k ~ 2: 2} %}{% for i in range(99999) %}"
                  "{% set x = d[k ~ 3] %}{% endfor %}"),
      HasSubstr("does not come to an end"));
}

TEST(HostileTemplateTest, KeysAreNotLargeTrees) {
  const std::string tree =
      "{% set n = namespace(t=(1, 2)) %}{% for i in range(100) %}{% set n.t = (n.t, n.t) %}{% endfor %}";
  EXPECT_THAT(print_error(tree + "{{ {n.t: 1} }}"), HasSubstr("a key of more than 256 values"));
  EXPECT_THAT(print_error(tree + "{{ [n.t, n.t]|unique|list }}"), HasSubstr("a key of more than 256 values"));
}

TEST(HostileTemplateTest, ALoopsConditionCannotReadTheLoop) {
  for (const char* use : {"length", "last", "nextitem"})
    EXPECT_THAT(
        print_error(fmt::format(
            "{{% set n = namespace(l=none) %}}{{% macro m() %}}{{{{ n.l.{} if n.l }}}}{{% endmacro %}}"
            "{{% for x in [1, 2, 3] if m() or true %}}{{% set n.l = loop %}}{{{{ loop.{} }}}}{{% endfor %}}",
            use, use)),
        HasSubstr("asks for the loop's next item"))
        << use;
}

TEST(HostileTemplateTest, ArgumentsAreBounded) {
  EXPECT_THAT(
      print_error(
          "{% macro m() %}{{ varargs|length }}{{ m(*varargs) }}{% endmacro %}{{ m(*(range(99999))) }}"),
      HasSubstr("more than 10000 arguments"));
  EXPECT_THAT(
      print_error("{% macro m() %}{{ kwargs|length }}{{ m(**kwargs) }}{% endmacro %}{{ m(**{'a': 1}) }}"),
      HasSubstr("calls itself too often"));
}

TEST(HostileTemplateTest, ManySmallObjectsAreCounted) {
  for (const char* filter : {"map(attribute='zz')", "map('select')"})
    EXPECT_THAT(print_error(fmt::format(
                    "{{% set l = [{{}}] * 999999 %}}{{% set n = namespace(l=[]) %}}{{% for i in range(99) %}}"
                    "{{% set n.l = n.l + [l|{}|list] %}}{{% endfor %}}",
                    filter)),
                testing::AnyOf(HasSubstr("MiB of memory"), HasSubstr("does not come to an end")))
        << filter;
}

TEST(HostileTemplateTest, BytesThatAreNoTextAreReplaced) {
  const OrderedJson messages = OrderedJson::array({{{"role", "a\xE4"}, {"\xF0\x9F", "\xFF"}}});
  const auto chat_template = ChatTemplate::parse("{{ messages }}{{ messages[0].role[-1] }}{{ b }}", "t");
  EXPECT_EQ(chat_template.render(messages, {.special_tokens = {{"b", "\xC3"}}}).text,
            "[{'role': 'a\uFFFD', '\uFFFD': '\uFFFD'}]\uFFFD\uFFFD");
  EXPECT_EQ(error_of([] { (void)ChatTemplate::parse("\xE4", "t"); }), "t: the template is not UTF-8");
}

TEST(HostileTemplateTest, SlicesOfAnyBoundsStayInside) {
  const std::string far = "9223372036854775807";
  EXPECT_EQ(print_template("{{ 'abc'[-" + far + ":" + far + ":" + far + "] }}{{ 'abc'[::-" + far +
                           "] }}{{ [1, 2][" + far + ":-" + far + ":-1] }}{{ range(5)[::-" + far +
                           "]|list }}{{ 'é'[-" + far + "] }}"),
            "ac[2, 1][4]");
}

TEST(HostileTemplateTest, CyclesOfObjectsAreHarmless) {
  EXPECT_EQ(
      print_template(
          "{% set n = namespace() %}{% set n.self = [n] %}{% macro m() %}{% endmacro %}{% set n.m = m %}"
          "{% for x in [1] %}{% set n.loop = loop %}{{ loop.changed([loop]) }}{% endfor %}{{ n.loop.index "
          "}}"),
      "True1");
}

/// Text made of pieces of templates, put together and changed at random.
class TemplateMaker {
 public:
  explicit TemplateMaker(std::uint64_t seed) : random_(seed) {}

  std::string make(const std::string& base) {
    std::string text = base;
    const std::size_t changes = 1 + random_.below(4);
    for (std::size_t i = 0; i < changes; ++i) change(text);
    return text;
  }

 private:
  void change(std::string& text) {
    static const std::vector<std::string> pieces = {"{{",
                                                    "}}",
                                                    "{%",
                                                    "%}",
                                                    "{#",
                                                    "#}",
                                                    "-",
                                                    "(",
                                                    ")",
                                                    "[",
                                                    "]",
                                                    "{",
                                                    "}",
                                                    "|",
                                                    ".",
                                                    ",",
                                                    ":",
                                                    "~",
                                                    "*",
                                                    "**",
                                                    "//",
                                                    "%",
                                                    "'",
                                                    "\"",
                                                    "\\",
                                                    "=",
                                                    " if ",
                                                    " else ",
                                                    " is ",
                                                    " not ",
                                                    " in ",
                                                    " and ",
                                                    " or ",
                                                    " for ",
                                                    "none",
                                                    "true",
                                                    "loop",
                                                    "0",
                                                    "-1",
                                                    "1.5",
                                                    "9999999999",
                                                    "messages",
                                                    "x",
                                                    "|list",
                                                    "|join",
                                                    "|sort",
                                                    "|tojson",
                                                    "|map('upper')",
                                                    "|length",
                                                    "[::-1]",
                                                    ".items()",
                                                    ".split()",
                                                    ".format()",
                                                    "{% set x = ",
                                                    "{% endif %}",
                                                    "{% endfor %}",
                                                    "{% for x in messages %}",
                                                    "{% if x %}",
                                                    "{% macro x(a, b=1) %}",
                                                    "{% endmacro %}",
                                                    "x(1)",
                                                    "{% break %}",
                                                    "{% generation %}",
                                                    "{% endgeneration %}",
                                                    "{% raw %}",
                                                    "\n",
                                                    "é",
                                                    "{% call x() %}",
                                                    "{% endcall %}",
                                                    "namespace(x=1)",
                                                    "range(9)",
                                                    "caller()",
                                                    "{% filter upper %}",
                                                    "{% endfilter %}"};
    const std::size_t at = random_.below(text.size() + 1);
    const std::size_t length = std::min<std::size_t>(random_.below(12), text.size() - at);
    switch (random_.below(4)) {
      case 0:
        text.erase(at, length);
        return;
      case 1:
        text.insert(at, pieces[random_.below(pieces.size())]);
        return;
      case 2:
        text.replace(at, length, pieces[random_.below(pieces.size())]);
        return;
      default:
        text.insert(at, text.substr(random_.below(text.size() + 1), random_.below(30)));
        return;
    }
  }

  Rng random_;
};

TEST(HostileTemplateTest, ChangedTemplatesPrintOrFailWithALine) {
  const OrderedJson goldens = template_golden("jinja_snippets.json");
  TemplateMaker maker(7);
  std::size_t printed = 0;
  std::size_t failed = 0;
  for (const OrderedJson& snippet : goldens["snippets"])
    for (int i = 0; i < 60; ++i) {
      const std::string source = maker.make(snippet["template"]);
      try {
        (void)ChatTemplate::parse(source, "t").render_variables(goldens["variables"], time_of_goldens);
        ++printed;
      } catch (const Error& error) {
        ++failed;
        EXPECT_EQ(std::string_view(error.what()).substr(0, 2), "t:") << error.what();
        EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos) << source;
      }
    }
  EXPECT_GT(printed, 2'000U);
  EXPECT_GT(failed, 2'000U);
}

}  // namespace
}  // namespace fathom::test
