#include "dist/local_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "support/error_text.h"
#include "support/ranks.h"
#include "support/transport_cases.h"

namespace fathom {
namespace {

class LocalTransportTest : public testing::TestWithParam<std::tuple<test::TransportCase, int>> {};

TEST_P(LocalTransportTest, Holds) {
  const auto& [one, ranks] = GetParam();
  test::on_ranks(ranks, one.check);
}

INSTANTIATE_TEST_SUITE_P(All, LocalTransportTest,
                         testing::Combine(testing::ValuesIn(test::transport_cases()),
                                          testing::Values(1, 2, 3, 4, 7)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "On" +
                                  std::to_string(std::get<1>(test.param));
                         });

TEST(LocalCommunicatorTest, AMessageOfAnotherLengthIsAnError) {
  const std::unique_ptr<Communicator> alone = single_communicator();
  std::vector<std::byte> bytes(3);
  alone->send(bytes, 0, 0);
  const auto receive = [&] { alone->receive(std::span(bytes).first(2), 0, 0).wait(); };
  EXPECT_EQ(test::error_of(receive), "rank 0 receives 2 bytes from rank 0, which sent 3");
}

}  // namespace
}  // namespace fathom
