#include "kernels/grouped_linear.h"

#include <memory>

#include "kernels/kernel_test.h"
#include "kernels/weights.h"

namespace fathom {
namespace {

using test::random_values;
using test::StoredWeights;

/// Maps of several types and sizes, with no token, one, a few and many.
struct Group {
  struct Member {
    std::unique_ptr<StoredWeights> w;
    std::int64_t tokens;
    std::vector<float> x;
    std::vector<float> dy;
  };
  std::vector<Member> members;

  explicit Group(const std::vector<DType>& types) {
    const std::vector<std::int64_t> tokens = {1, 0, 9, 8, 150, 1, 40};
    std::uint64_t seed = 1;
    for (const std::int64_t count : tokens) {
      const std::int64_t out = 60 + 17 * static_cast<std::int64_t>(seed);
      const std::int64_t in = 300 - 13 * static_cast<std::int64_t>(seed);
      Member member{
          std::make_unique<StoredWeights>(types[seed % types.size()], out, in, seed), count, {}, {}};
      member.x = random_values(static_cast<std::size_t>(count * in), seed + 100);
      member.dy = random_values(static_cast<std::size_t>(count * out), seed + 200);
      members.push_back(std::move(member));
      ++seed;
    }
  }
};

std::vector<std::vector<float>> forward(ThreadPool& pool, const Group& group) {
  std::vector<std::vector<float>> y;
  std::vector<kernels::LinearForward> jobs;
  for (const auto& member : group.members) {
    y.emplace_back(static_cast<std::size_t>(member.tokens * member.w->matrix.out), NAN);
    jobs.push_back({member.w->matrix, member.x.data(), member.tokens, y.back().data()});
  }
  kernels::grouped_linear_forward(pool, jobs);
  return y;
}

struct Gradients {
  std::vector<std::vector<float>> dx;
  std::vector<std::vector<float>> dw;
  bool operator==(const Gradients&) const = default;
};

Gradients backward(ThreadPool& pool, const Group& group, bool accumulate) {
  Gradients out;
  std::vector<kernels::LinearBackwardInput> input_jobs;
  std::vector<kernels::LinearBackwardWeight> weight_jobs;
  for (const auto& member : group.members) {
    const kernels::WeightMatrix& w = member.w->matrix;
    out.dx.emplace_back(member.x.size(), 1.0F);
    out.dw.emplace_back(member.w->values.size(), 1.0F);
    input_jobs.push_back({w, member.dy.data(), member.tokens, out.dx.back().data(), accumulate});
    weight_jobs.push_back(
        {member.dy.data(), member.x.data(), member.tokens, w.out, w.in, out.dw.back().data()});
  }
  kernels::grouped_linear_backward_input(pool, input_jobs);
  kernels::grouped_linear_backward_weight(pool, weight_jobs);
  return out;
}

TEST(GroupedLinearTest, ForwardEqualsEachMapAlone) {
  ThreadPool pool(2);
  const Group group({DType::f32, DType::bf16, DType::f8_e4m3});
  const auto y = forward(pool, group);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const auto& member = group.members[i];
    std::vector<float> alone(y[i].size());
    kernels::linear_forward(pool, member.x.data(), member.tokens, member.w->matrix, alone.data());
    EXPECT_EQ(y[i], alone) << i;
    EXPECT_LT(test::relative_error(alone, test::reference_linear(member.x, member.tokens, *member.w)), 5e-6);
  }
}

TEST(GroupedLinearTest, GradientsEqualEachMapAlone) {
  ThreadPool pool(2);
  const Group group({DType::f32});
  for (const bool accumulate : {false, true}) {
    const Gradients grouped = backward(pool, group, accumulate);
    for (std::size_t i = 0; i < group.members.size(); ++i) {
      const auto& member = group.members[i];
      const kernels::WeightMatrix& w = member.w->matrix;
      std::vector<float> dx(member.x.size(), 1.0F);
      std::vector<float> dw(member.w->values.size(), 1.0F);
      kernels::linear_backward_input(pool, member.dy.data(), member.tokens, w, dx.data(), accumulate);
      kernels::linear_backward_weight(pool, member.dy.data(), member.x.data(), member.tokens, w.out, w.in,
                                      dw.data());
      EXPECT_EQ(grouped.dx[i], dx) << i;
      EXPECT_EQ(grouped.dw[i], dw) << i;
    }
  }
}

TEST(GroupedLinearTest, NoJobsAreFine) {
  ThreadPool pool(2);
  kernels::grouped_linear_forward(pool, {});
  kernels::grouped_linear_backward_input(pool, {});
  kernels::grouped_linear_backward_weight(pool, {});
}

TEST(GroupedLinearTest, DoesNotDependOnTheThreadCount) {
  const Group mixed({DType::bf16, DType::f32, DType::f8_e4m3});
  test::expect_same_for_any_thread_count([&](ThreadPool& pool) { return forward(pool, mixed); });
  const Group f32({DType::f32});
  test::expect_same_for_any_thread_count([&](ThreadPool& pool) { return backward(pool, f32, true).dw; });
  test::expect_same_for_any_thread_count([&](ThreadPool& pool) { return backward(pool, f32, true).dx; });
}

}  // namespace
}  // namespace fathom
