#include "plan/schedule_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace fathom {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<ComparedSchedule> eight_ranks() {
  return compare_schedules({.parallelism = 8, .micro_batches = 20});
}

TEST(ScheduleReportTest, ARowHasTheFiguresOfTheDesign) {
  const auto rows = schedule_rows(eight_ranks());
  ASSERT_EQ(rows.size(), 1 + kPipelineKinds.size());
  // Columns: schedule, closed form, ranks, stages, makespan, bubble, idle, in flight, activations,
  // parameters.
  EXPECT_EQ(rows[1], (TableRow{"1F1B", "(PP-1)(F+B) = 21", "8", "8", "81", "21", "25.9 %", "1 to 8", "1.000",
                               "1× 1/8"}));
  EXPECT_EQ(rows[3],
            (TableRow{"ZB1P", "(PP-1)(F+B-2W) = 7", "8", "8", "67", "7", "10.4 %", "8", "1.000", "1× 1/8"}));
  EXPECT_EQ(rows[4], (TableRow{"DualPipe", "(PP/2-1)(F&B+B-3W) = 6", "8", "8", "66", "6", "9.1 %", "9",
                               "1.125", "2× 1/8"}));
  EXPECT_EQ(rows[5][2], "4");
  EXPECT_EQ(rows[5].back(), "2× 1/8");
}

TEST(ScheduleReportTest, AFormulaThatDoesNotHoldIsMarked) {
  const auto rows =
      schedule_rows(compare_schedules({.parallelism = 8, .micro_batches = 20, .times = {.backward = 3}}));
  EXPECT_THAT(rows[4][1], HasSubstr("≈"));
  EXPECT_THAT(rows[1][1], HasSubstr(" = 28"));
}

TEST(ScheduleReportTest, AScheduleThatIsAloneHasARowForEachRank) {
  const std::vector<ComparedSchedule> all = eight_ranks();
  EXPECT_THAT(schedules_text({all.data(), 1}), HasSubstr("W waiting"));
  EXPECT_THAT(schedules_text(all), Not(HasSubstr("W waiting")));
  EXPECT_EQ(rank_rows(all.front().step.value()).size(), 9U);
}

TEST(ScheduleReportTest, WhatDoesNotExistIsNamedWithItsReason) {
  const auto all = compare_schedules({.parallelism = 7, .micro_batches = 20, .chunks = 7});
  EXPECT_THAT(schedules_text(all), HasSubstr("no DualPipe: 7 stages cannot be halved"));
  EXPECT_THAT(schedules_json(all)[3]["refusal"].get<std::string>(), HasSubstr("cannot be halved"));
  EXPECT_THAT(schedules_page(all), HasSubstr("No DualPipe: 7 stages"));
}

TEST(ScheduleReportTest, JsonHasEveryRank) {
  const OrderedJson json = schedules_json(eight_ranks());
  const OrderedJson& dualpipe = json.at(3);
  EXPECT_EQ(dualpipe["schedule"], "dualpipe");
  EXPECT_EQ(dualpipe["makespan"], 66);
  EXPECT_EQ(dualpipe["bubble"], 6);
  EXPECT_EQ(dualpipe["closed_form"]["holds"], true);
  EXPECT_EQ(dualpipe["parameters"], 0.25);
  EXPECT_EQ(dualpipe["by_rank"].size(), 8U);
  EXPECT_EQ(dualpipe["by_rank"][0]["in_flight"], 9);
}

TEST(ScheduleReportTest, ThePageAsksNothingOfTheNetwork) {
  const std::string page = schedules_page(eight_ranks());
  EXPECT_THAT(page, HasSubstr("<svg"));
  EXPECT_THAT(page, HasSubstr("F&amp;B"));
  EXPECT_THAT(page, Not(HasSubstr("src=")));
  EXPECT_THAT(page, Not(HasSubstr("href=")));
}

}  // namespace
}  // namespace fathom
