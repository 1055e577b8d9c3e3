#include "support/transport_cases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "dist/collectives.h"

namespace fathom::test {
namespace {

using testing::Each;
using testing::ElementsAreArray;

int next(const Communicator& ranks) {
  return (ranks.rank() + 1) % ranks.size();
}
int previous(const Communicator& ranks) {
  return (ranks.rank() + ranks.size() - 1) % ranks.size();
}

template <typename T>
std::span<std::byte> bytes_of(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}

std::vector<float> random_values(int rank, std::size_t count) {
  Rng random(7, static_cast<std::uint64_t>(rank));
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.below(2'000'001)) / 1'000'000 - 1;
  return values;
}

void messages_of_one_tag_arrive_in_order(Communicator& ranks) {
  constexpr std::size_t kMessages = 20;
  std::vector<std::vector<int>> out(kMessages);
  std::vector<std::vector<int>> in(kMessages);
  Transfers transfers;
  for (std::size_t i = 0; i < kMessages; ++i) {
    out[i].assign(1 + i * 100, ranks.rank() * 1000 + static_cast<int>(i));
    in[i].resize(out[i].size());
    transfers.add(ranks.send(bytes_of(out[i]), next(ranks), 5));
  }
  for (std::vector<int>& message : in) transfers.add(ranks.receive(bytes_of(message), previous(ranks), 5));
  transfers.wait();
  EXPECT_TRUE(transfers.done());
  for (std::size_t i = 0; i < kMessages; ++i)
    EXPECT_THAT(in[i], Each(previous(ranks) * 1000 + static_cast<int>(i)));
}

void tags_tell_messages_apart(Communicator& ranks) {
  std::vector<int> first = {1};
  std::vector<int> second = {2};
  std::vector<int> got_first(1);
  std::vector<int> got_second(1);
  const Transfer send_first = ranks.send(bytes_of(first), next(ranks), 1);
  const Transfer send_second = ranks.send(bytes_of(second), next(ranks), Communicator::kTags - 1);
  const Transfer receive_second =
      ranks.receive(bytes_of(got_second), previous(ranks), Communicator::kTags - 1);
  receive_second.wait();
  ranks.receive(bytes_of(got_first), previous(ranks), 1).wait();
  send_first.wait();
  send_second.wait();
  EXPECT_EQ(got_first[0], 1);
  EXPECT_EQ(got_second[0], 2);
}

void large_messages_travel_both_ways_at_once(Communicator& ranks) {
  std::vector<float> out = random_values(ranks.rank(), 3'000'001);
  std::vector<float> from_next(out.size());
  std::vector<float> from_previous(out.size());
  Transfers transfers;
  transfers.add(ranks.send(bytes_of(out), next(ranks), 0));
  transfers.add(ranks.send(bytes_of(out), previous(ranks), 1));
  transfers.add(ranks.receive(bytes_of(from_previous), previous(ranks), 0));
  transfers.add(ranks.receive(bytes_of(from_next), next(ranks), 1));
  transfers.wait();
  EXPECT_EQ(from_previous, random_values(previous(ranks), out.size()));
  EXPECT_EQ(from_next, random_values(next(ranks), out.size()));
}

void a_message_of_nothing_arrives(Communicator& ranks) {
  const Transfer receive = ranks.receive({}, previous(ranks), 3);
  const Transfer send = ranks.send({}, next(ranks), 3);
  receive.wait();
  send.wait();
}

void a_broadcast_reaches_all(Communicator& ranks) {
  for (int root = 0; root < ranks.size(); ++root) {
    std::vector<int> values(100, ranks.rank());
    broadcast(ranks, bytes_of(values), root);
    EXPECT_THAT(values, Each(root));
    EXPECT_EQ(broadcast_text(ranks, ranks.rank() == root ? "text" : "another", root), "text");
    EXPECT_EQ(broadcast_text(ranks, ranks.rank() == root ? "" : "another", root), "");
  }
  barrier(ranks);
}

/// Rank a sends 10 · a + b values to rank b, none from even to odd ranks.
std::size_t parcel(int a, int b) {
  return a % 2 == 0 && b % 2 == 1 ? 0 : static_cast<std::size_t>(10 * a + b);
}

void all_to_all_exchanges_parts_of_any_length(Communicator& ranks) {
  std::vector<std::vector<int>> out;
  std::vector<std::vector<int>> in;
  for (int r = 0; r < ranks.size(); ++r) {
    out.emplace_back(parcel(ranks.rank(), r), 100 * ranks.rank() + r);
    in.emplace_back(parcel(r, ranks.rank()));
  }
  const std::vector<std::span<const std::byte>> out_parts = [&] {
    std::vector<std::span<const std::byte>> parts;
    for (const std::vector<int>& part : out) parts.push_back(std::as_bytes(std::span(part)));
    return parts;
  }();
  std::vector<std::span<std::byte>> in_parts;
  for (std::vector<int>& part : in) in_parts.push_back(bytes_of(part));
  all_to_all(ranks, out_parts, in_parts).wait();
  for (int r = 0; r < ranks.size(); ++r)
    EXPECT_EQ(in[static_cast<std::size_t>(r)],
              std::vector<int>(parcel(r, ranks.rank()), 100 * r + ranks.rank()));
}

/// Parts of very different lengths; the last one is empty.
std::vector<std::size_t> uneven_bounds(int size, std::size_t unit) {
  std::vector<std::size_t> bounds = {0};
  for (int r = 0; r < size; ++r)
    bounds.push_back(bounds.back() +
                     (r + 1 == size && size > 1 ? 0 : static_cast<std::size_t>(r + 1) * unit + 1));
  return bounds;
}

void all_gather_puts_parts_in_their_places(Communicator& ranks) {
  const std::vector<std::size_t> bounds = uneven_bounds(ranks.size(), 1000);
  std::vector<std::byte> bytes(bounds.back(), std::byte{0xff});
  const auto own = static_cast<std::size_t>(ranks.rank());
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(bounds[own]),
            bytes.begin() + static_cast<std::ptrdiff_t>(bounds[own + 1]),
            std::byte{static_cast<std::uint8_t>(own)});
  all_gather(ranks, bytes, bounds).wait();
  for (std::size_t r = 0; r + 1 < bounds.size(); ++r)
    for (std::size_t i = bounds[r]; i < bounds[r + 1]; ++i)
      ASSERT_EQ(std::to_integer<std::size_t>(bytes[i]), r) << i;
}

void sums_run_over_the_ranks_in_order(Communicator& ranks) {
  // 1e16 swallows a 1 that is added to it: the order shows.
  std::vector<double> values = {1.0 + ranks.rank(), ranks.rank() == 0 ? 1e16 : 1.0};
  all_sum(ranks, std::span(values));
  EXPECT_EQ(values[0], ranks.size() * (ranks.size() + 1) / 2.0);
  EXPECT_EQ(values[1], 1e16);
  std::vector<std::int64_t> counts = {ranks.rank(), std::int64_t{1} << 60U};
  all_sum(ranks, std::span(counts).first(1));
  EXPECT_EQ(counts[0], ranks.size() * (ranks.size() - 1) / 2);
  std::vector<int> all = all_gather_values(ranks, 5 * ranks.rank());
  for (int r = 0; r < ranks.size(); ++r) EXPECT_EQ(all[static_cast<std::size_t>(r)], 5 * r);
}

void reduce_scatter_sums_in_order_to_the_bit(Communicator& ranks) {
  for (const std::size_t unit : {std::size_t{3}, std::size_t{50'000}}) {
    const std::vector<std::size_t> bounds = uneven_bounds(ranks.size(), unit);
    std::vector<float> values = random_values(ranks.rank(), bounds.back());
    const std::vector<float> before = values;
    std::vector<float> sum = random_values(0, bounds.back());
    for (int r = 1; r < ranks.size(); ++r) {
      const std::vector<float> more = random_values(r, bounds.back());
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
    }
    ThreadPool pool(2);
    // The second begins while the first one is under way.
    std::vector<float> other(bounds.back(), 1.0F);
    ReduceScatter first(ranks, values, bounds);
    ReduceScatter second(ranks, other, bounds);
    first.finish(pool);
    second.finish(pool);
    const std::size_t begin = bounds[static_cast<std::size_t>(ranks.rank())];
    const std::size_t end = bounds[static_cast<std::size_t>(ranks.rank()) + 1];
    for (std::size_t i = 0; i < sum.size(); ++i)
      ASSERT_EQ(values[i], i >= begin && i < end ? sum[i] : before[i])
          << "value " << i << " of " << sum.size();
    for (std::size_t i = 0; i < other.size(); ++i)
      ASSERT_EQ(other[i], i >= begin && i < end ? static_cast<float>(ranks.size()) : 1.0F);
  }
}

void groups_talk_among_themselves(Communicator& ranks) {
  const int color = ranks.rank() % 2;
  const std::unique_ptr<Communicator> group = ranks.split(color, -ranks.rank());  // in reverse
  const int members = (ranks.size() + 1 - color) / 2;
  ASSERT_EQ(group->size(), members);
  EXPECT_EQ(group->rank(), members - 1 - ranks.rank() / 2);
  std::vector<int> all = all_gather_values(*group, ranks.rank());
  for (int i = 0; i < members; ++i)
    EXPECT_EQ(all[static_cast<std::size_t>(i)], 2 * (members - 1 - i) + color);
  const std::unique_ptr<Communicator> alone = group->split(group->rank(), 0);
  EXPECT_EQ(alone->size(), 1);
  barrier(ranks);
}

}  // namespace

const std::vector<TransportCase>& transport_cases() {
  static const std::vector<TransportCase> cases = {
      {"MessagesOfOneTagArriveInOrder", messages_of_one_tag_arrive_in_order},
      {"TagsTellMessagesApart", tags_tell_messages_apart},
      {"LargeMessagesTravelBothWaysAtOnce", large_messages_travel_both_ways_at_once},
      {"AMessageOfNothingArrives", a_message_of_nothing_arrives},
      {"ABroadcastReachesAll", a_broadcast_reaches_all},
      {"AllToAllExchangesPartsOfAnyLength", all_to_all_exchanges_parts_of_any_length},
      {"AllGatherPutsPartsInTheirPlaces", all_gather_puts_parts_in_their_places},
      {"SumsRunOverTheRanksInOrder", sums_run_over_the_ranks_in_order},
      {"ReduceScatterSumsInOrderToTheBit", reduce_scatter_sums_in_order_to_the_bit},
      {"GroupsTalkAmongThemselves", groups_talk_among_themselves},
  };
  return cases;
}

}  // namespace fathom::test
