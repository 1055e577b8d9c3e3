#include "kernels/expert_rows.h"

#include "kernels/kernel_test.h"
#include "kernels/swiglu.h"

namespace fathom::kernels {
namespace {

using test::random_values;

TEST(ExpertRowsTest, WeightedRowsAreAddedInOnePass) {
  for (const std::int64_t dim : {1, 7, 16, 37, 64}) {
    const auto size = static_cast<std::size_t>(dim);
    const std::vector<float> rows = random_values(5 * size, 1);
    const std::vector<float> start = random_values(size, 2);
    const std::vector<std::int32_t> index = {4, 0, 3};
    const std::vector<float> weights = {0.5F, -2.0F, 1.25F};
    for (const float* given : {weights.data(), static_cast<const float*>(nullptr)})
      test::for_each_target([&] {
        std::vector<float> y = start;
        add_weighted_rows(rows.data(), index.data(), given, 3, dim, y.data());
        for (std::size_t i = 0; i < size; ++i) {
          double expected = static_cast<double>(start[i]);
          for (std::size_t j = 0; j < 3; ++j)
            expected += (given == nullptr ? 1.0 : static_cast<double>(weights[j])) *
                        static_cast<double>(rows[static_cast<std::size_t>(index[j]) * size + i]);
          EXPECT_NEAR(y[i], expected, 2e-6) << "dim " << dim;
        }
      });
  }
}

// A gate w in front of the product is the same as an incoming gradient times w.
TEST(ExpertRowsTest, TheGatedBackwardIsTheBackwardTimesTheGate) {
  constexpr float kWeight = 0.75F;
  for (const std::int64_t dim : {1, 8, 29, 64}) {
    const auto size = static_cast<std::size_t>(dim);
    const std::vector<float> gate = random_values(size, 1, 2.0);
    const std::vector<float> up = random_values(size, 2);
    const std::vector<float> incoming = random_values(size, 3);
    test::for_each_target([&] {
      ThreadPool pool(1);
      std::vector<float> dgate(size);
      std::vector<float> dup(size);
      std::vector<float> product(size);
      swiglu_backward(pool, incoming.data(), gate.data(), up.data(), dim, dgate.data(), dup.data(),
                      product.data());
      double dweight = 0.0;
      for (std::size_t i = 0; i < size; ++i)
        dweight += static_cast<double>(incoming[i]) * static_cast<double>(product[i]);

      std::vector<float> gated_gate(size);
      std::vector<float> gated_up(size);
      std::vector<float> gated_product = incoming;  // in place
      const float given = gated_swiglu_backward(gated_product.data(), gate.data(), up.data(), kWeight, dim,
                                                gated_gate.data(), gated_up.data(), gated_product.data());
      EXPECT_NEAR(given, dweight, 1e-5 * static_cast<double>(dim));
      for (std::size_t i = 0; i < size; ++i) {
        EXPECT_EQ(gated_gate[i], kWeight * dgate[i]);
        EXPECT_EQ(gated_up[i], kWeight * dup[i]);
        EXPECT_EQ(gated_product[i], kWeight * product[i]);
      }
    });
  }
}

}  // namespace
}  // namespace fathom::kernels
