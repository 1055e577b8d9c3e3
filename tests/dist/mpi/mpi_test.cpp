// What the MPI transport does, on as many processes as `mpirun` starts: each runs all tests in this order.

#include "dist/mpi_job.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/collectives.h"
#include "support/error_text.h"
#include "support/transport_cases.h"

namespace fathom {
namespace {

std::unique_ptr<Communicator> world;

class MpiTransportTest : public testing::TestWithParam<test::TransportCase> {};

TEST_P(MpiTransportTest, Holds) {
  GetParam().check(*world);
}

INSTANTIATE_TEST_SUITE_P(All, MpiTransportTest, testing::ValuesIn(test::transport_cases()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(MpiJobTest, TheLauncherSaysWhoWeAre) {
  const LaunchedProcess process = launched_process().value();
  EXPECT_EQ(process.rank, world->rank());
  EXPECT_EQ(process.size, world->size());
  EXPECT_EQ(process.local_size, world->size());
  EXPECT_GE(threads_of_launched_process(process), 1U);
}

TEST(MpiJobTest, AMessageOfAnotherLengthIsAnError) {
  std::vector<std::byte> bytes(10);
  const int next = (world->rank() + 1) % world->size();
  const int previous = (world->rank() + world->size() - 1) % world->size();
  const Transfer send = world->send(bytes, next, 0);
  const auto receive = [&] { world->receive(std::span(bytes).first(9), previous, 0).wait(); };
  EXPECT_THAT(test::error_of(receive), testing::HasSubstr("MPI: a message"));
  send.wait();
  barrier(*world);
}

// A rank that computes does not wait, and yet what others want of it goes on its way.
TEST(MpiJobTest, MessagesTravelWhileARankComputes) {
  if (world->size() < 2) GTEST_SKIP() << "alone";
  constexpr std::size_t kBytes = std::size_t{8} << 20U;  // too long to be sent before it is asked for
  std::vector<std::byte> bytes(kBytes);
  barrier(*world);
  if (world->rank() == 0) {
    const Transfer send = world->send(bytes, 1, 0);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!send.done() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_TRUE(send.done()) << "though nobody has waited for it";
    send.wait();
  } else if (world->rank() == 1) {
    const Transfer receive = world->receive(bytes, 0, 0);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!receive.done() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_TRUE(receive.done()) << "though nobody has waited for it";
    receive.wait();
  }
  barrier(*world);
}

/// What the ranks print that are not the first: failures.
class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed())
      fmt::print(stderr, "rank {}: {}:{}: {}\n", world->rank(),
                 result.file_name() == nullptr ? "" : result.file_name(), result.line_number(),
                 result.summary());
  }
};

}  // namespace
}  // namespace fathom

/// An argument other than gtest's is the length of the longest message.
int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  fathom::MpiOptions options;
  if (argc > 1) options.longest_message = std::stoul(argv[1]);
  fathom::world = fathom::join_mpi_job(options);
  if (fathom::world->rank() != 0) {
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new fathom::FailurePrinter);
  }
  const int result = RUN_ALL_TESTS();
  fathom::world.reset();
  return result;
}
