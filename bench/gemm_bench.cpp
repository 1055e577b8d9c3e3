// Products of training in every precision, against OpenBLAS in f32 called tile by tile (kernels/gemm.h) in
// the same run, in turns: one large product, and the gathered products of 64 fine-grained experts.
//   gemm_bench [threads] [rounds]

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/rng.h"
#include "infer/machine_limits.h"
#include "kernels/gemm.h"
#include "kernels/packed_gemm.h"
#include "kernels/simd_limit.h"
#include "numerics/small_float.h"

namespace fathom {
namespace {

using kernels::GemmInput;
using kernels::GemmJob;
using kernels::GemmOperand;
using kernels::Transpose;

/// A matrix as every recipe stores it.
struct Matrix {
  Matrix(std::int64_t rows, std::int64_t k)
      : f32(bench_values(rows * k)),
        fp8(f32.size()),
        tile_scales(static_cast<std::size_t>(rows * ((k + 127) / 128)), 0.5F),
        block_scales(static_cast<std::size_t>(((rows + 127) / 128) * ((k + 127) / 128)), 0.5F),
        rows_(rows),
        k_(k) {
    std::ranges::transform(f32, fp8.begin(), [](float value) { return F8E4M3::from_float(value); });
  }

  [[nodiscard]] GemmOperand plain() const { return kernels::gemm_rows(f32.data(), rows_, k_); }
  [[nodiscard]] GemmOperand tiles() const { return scaled(tile_scales, 1); }
  [[nodiscard]] GemmOperand blocks() const { return scaled(block_scales, 128); }

  std::vector<float> f32;
  std::vector<F8E4M3> fp8;
  std::vector<float> tile_scales;
  std::vector<float> block_scales;

 private:
  [[nodiscard]] GemmOperand scaled(const std::vector<float>& scales, std::int64_t scale_rows) const {
    GemmOperand operand = plain();
    operand.data = fp8.data();
    operand.dtype = DType::f8_e4m3;
    operand.scale = scales.data();
    operand.scale_rows = scale_rows;
    operand.scale_row_stride = (k_ + 127) / 128;
    operand.scale_k_stride = 1;
    return operand;
  }

  std::int64_t rows_;
  std::int64_t k_;
};

struct Ways {
  std::string what;
  double flops;
  std::function<void()> openblas;
  std::function<void()> f32;
  std::function<void()> bf16;
  std::function<void()> fp8;  // none where the recipe has no such product
};

void report(const Ways& ways, int rounds) {
  std::vector<std::function<void()>> parts = {ways.openblas, ways.f32, ways.bf16};
  if (ways.fp8) parts.push_back(ways.fp8);
  const std::vector<double> seconds = least_seconds(parts, rounds);
  const auto speed = [&](std::size_t i) { return ways.flops / seconds[i] / 1e9; };
  fmt::print("{:<44} {:8.1f} {:8.1f} {:8.1f}", ways.what, speed(0), speed(1), speed(2));
  fmt::print("  f32/OpenBLAS {:.2f}  bf16/f32 {:.2f}", speed(1) / speed(0), speed(2) / speed(1));
  if (ways.fp8) fmt::print("  fp8 {:.1f}, /bf16 {:.2f}", speed(3), speed(3) / speed(2));
  fmt::print("\n");
}

void large(ThreadPool& pool, int rounds) {
  const std::int64_t size = 1024;
  const Matrix a(size, size);
  const Matrix b(size, size);
  std::vector<float> c(a.f32.size());
  const auto ours = [&](GemmInput input, const GemmOperand& left, const GemmOperand& right) {
    kernels::packed_gemm(pool, input, left, right, c.data(), size, false);
  };
  report({"1024 x 1024 x 1024", 2.0 * static_cast<double>(size * size * size),
          [&] {
            kernels::gemm(pool, size, size, size, 1.0F, {a.f32.data(), size},
                          {b.f32.data(), size, Transpose::yes}, 0.0F, c.data(), size);
          },
          [&] { ours(GemmInput::f32, a.plain(), b.plain()); },
          [&] { ours(GemmInput::bf16, a.plain(), b.plain()); },
          [&] { ours(GemmInput::bf16, a.tiles(), b.blocks()); }},
         rounds);
}

/// The experts of one layer: gate and up, forward and backward.
class Experts {
 public:
  Experts(std::int64_t tokens, std::int64_t top_k, std::int64_t hidden, std::int64_t width)
      : hidden_(hidden),
        width_(width),
        x_(tokens, hidden),
        dy_(tokens * top_k, width),
        out_(static_cast<std::size_t>(2 * tokens * top_k * std::max(hidden, width))) {
    Rng random(1);
    const std::int64_t rows = tokens * top_k;
    offsets_.push_back(0);
    for (std::int64_t e = 1; e < kExperts; ++e)  // uneven, as routing is
      offsets_.push_back(std::clamp<std::int64_t>(
          e * rows / kExperts + static_cast<std::int64_t>(random.below(64)) - 32, offsets_.back(), rows));
    offsets_.push_back(rows);
    for (std::int64_t row = 0; row < rows; ++row)
      token_of_row_.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(tokens))));
    for (std::int64_t i = 0; i < 2 * kExperts; ++i) {
      weights_.emplace_back(width, hidden);
      grads_.emplace_back(static_cast<std::size_t>(width * hidden));
    }
  }

  void run(ThreadPool& pool, int rounds) {
    const std::string shape =
        fmt::format("{} experts, {} rows, {} to {}", kExperts, offsets_.back(), hidden_, width_);
    const double flops = 4.0 * static_cast<double>(offsets_.back() * hidden_ * width_);
    report({"Fprop, " + shape, flops, [&] { for_experts(pool, [&](std::int64_t e) { blas_forward(e); }); },
            [&] { forward(pool, GemmInput::f32, false); }, [&] { forward(pool, GemmInput::bf16, false); },
            [&] { forward(pool, GemmInput::bf16, true); }},
           rounds);
    report({"Dgrad, " + shape,
            flops,
            [&] { for_experts(pool, [&](std::int64_t e) { blas_input(e); }); },
            [&] { backward_input(pool, GemmInput::f32); },
            [&] { backward_input(pool, GemmInput::bf16); },
            {}},
           rounds);
    report({"Wgrad, " + shape,
            flops,
            [&] { for_experts(pool, [&](std::int64_t e) { blas_weight(e); }); },
            [&] { backward_weight(pool, GemmInput::f32); },
            [&] { backward_weight(pool, GemmInput::bf16); },
            {}},
           rounds);
  }

 private:
  static constexpr std::int64_t kExperts = 64;

  [[nodiscard]] std::int64_t begin(std::int64_t e) const { return offsets_[static_cast<std::size_t>(e)]; }
  [[nodiscard]] std::int64_t rows(std::int64_t e) const { return begin(e + 1) - begin(e); }
  [[nodiscard]] const Matrix& weight(std::int64_t i) const { return weights_[static_cast<std::size_t>(i)]; }
  float* grad(std::int64_t i) { return grads_[static_cast<std::size_t>(i)].data(); }
  /// Rows of one projection's output or input gradient.
  float* out(std::int64_t e, std::int64_t which, std::int64_t columns) {
    return out_.data() + (begin(e) + which * offsets_.back()) * columns;
  }

  template <typename Work>
  static void for_experts(ThreadPool& pool, const Work& work) {
    pool.parallel_for(kExperts, [&](std::size_t e) { work(static_cast<std::int64_t>(e)); });
  }

  [[nodiscard]] std::vector<float> gathered(std::int64_t e) const {
    std::vector<float> inputs(static_cast<std::size_t>(rows(e) * hidden_));
    for (std::int64_t r = 0; r < rows(e); ++r)
      std::copy_n(x_.f32.data() + token_of_row_[static_cast<std::size_t>(begin(e) + r)] * hidden_, hidden_,
                  inputs.data() + r * hidden_);
    return inputs;
  }
  void blas_forward(std::int64_t e) {
    const std::vector<float> inputs = gathered(e);
    for (std::int64_t i = 0; i < 2; ++i)
      kernels::gemm_serial(rows(e), width_, hidden_, 1.0F, {inputs.data(), hidden_},
                           {weight(2 * e + i).f32.data(), hidden_, Transpose::yes}, 0.0F, out(e, i, width_),
                           width_);
  }
  void blas_input(std::int64_t e) {
    for (std::int64_t i = 0; i < 2; ++i)
      kernels::gemm_serial(rows(e), hidden_, width_, 1.0F, {dy_.f32.data() + begin(e) * width_, width_},
                           {weight(2 * e + i).f32.data(), hidden_}, static_cast<float>(i), out(e, 0, hidden_),
                           hidden_);
  }
  void blas_weight(std::int64_t e) {
    const std::vector<float> inputs = gathered(e);
    for (std::int64_t i = 0; i < 2; ++i)
      kernels::gemm_serial(width_, hidden_, rows(e), 1.0F,
                           {dy_.f32.data() + begin(e) * width_, width_, Transpose::yes},
                           {inputs.data(), hidden_}, 1.0F, grad(2 * e + i), hidden_);
  }

  [[nodiscard]] GemmOperand inputs(std::int64_t e, bool fp8) const {
    GemmOperand operand = fp8 ? x_.tiles() : x_.plain();
    operand.rows = rows(e);
    operand.gather = token_of_row_.data() + begin(e);
    return operand;
  }
  [[nodiscard]] GemmOperand deltas(std::int64_t e) const {
    return kernels::gemm_rows(dy_.f32.data() + begin(e) * width_, rows(e), width_);
  }

  void forward(ThreadPool& pool, GemmInput input, bool fp8) {
    std::vector<GemmOperand> operands;
    std::vector<GemmJob> jobs;
    for (std::int64_t e = 0; e < kExperts; ++e) {
      const std::size_t first = operands.size();
      operands.push_back(inputs(e, fp8));
      for (std::int64_t i = 0; i < 2; ++i) {
        operands.push_back(fp8 ? weight(2 * e + i).blocks() : weight(2 * e + i).plain());
        jobs.push_back({first, operands.size() - 1, out(e, i, width_), width_, false});
      }
    }
    kernels::grouped_gemm(pool, input, operands, jobs);
  }
  /// Both products go to one sum, so they take turns.
  void backward_input(ThreadPool& pool, GemmInput input) {
    for_experts(pool, [&](std::int64_t e) {
      for (std::int64_t i = 0; i < 2; ++i)
        kernels::packed_gemm(pool, input, deltas(e), weight(2 * e + i).plain().flipped(), out(e, 0, hidden_),
                             hidden_, i > 0);
    });
  }
  void backward_weight(ThreadPool& pool, GemmInput input) {
    std::vector<GemmOperand> operands;
    std::vector<GemmJob> jobs;
    for (std::int64_t e = 0; e < kExperts; ++e) {
      const std::size_t first = operands.size();
      GemmOperand columns = x_.plain().flipped();
      columns.k = rows(e);
      columns.gather = token_of_row_.data() + begin(e);
      operands.push_back(columns);
      for (std::int64_t i = 0; i < 2; ++i) {
        operands.push_back(deltas(e).flipped());
        jobs.push_back({operands.size() - 1, first, grad(2 * e + i), hidden_, true});
      }
    }
    kernels::grouped_gemm(pool, input, operands, jobs);
  }

  std::int64_t hidden_;
  std::int64_t width_;
  Matrix x_;
  Matrix dy_;
  std::vector<float> out_;
  std::vector<std::int64_t> offsets_;
  std::vector<std::int32_t> token_of_row_;
  std::vector<Matrix> weights_;  // gate and up of every expert
  std::vector<std::vector<float>> grads_;
};

}  // namespace
}  // namespace fathom

int main(int count, char** arguments) {
  fathom::kernels::limit_simd_by_environment();
  fathom::ThreadPool pool(count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 0);
  const int rounds = count > 2 ? std::atoi(arguments[2]) : 7;
  fmt::print("{} threads{:<33} {:>8} {:>8} {:>8}\n", pool.threads(), ", GFLOP/s", "OpenBLAS", "f32", "bf16");
  fathom::large(pool, rounds);
  fathom::Experts(2048, 6, 256, 96).run(pool, rounds);
  fathom::Experts(2048, 6, 512, 256).run(pool, rounds);
}
