// Encoding to the types of blocks on one thread: million values a second of processor time, and the error
// left, beside llama.cpp's quantisers where its library is given.
//
// usage: encode_bench [LIBGGML_BASE]     llama.cpp's libggml-base.so

#include <dlfcn.h>
#include <fmt/core.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <exception>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/encode_blocks.h"
#include "numerics/quant_blocks.h"

namespace fathom {
namespace {

constexpr std::int64_t kBenchRows = 256;
constexpr std::int64_t kBenchColumns = 2048;
constexpr std::int64_t kBenchValues = kBenchRows * kBenchColumns;

struct EncodedType {
  DType dtype;
  const char* peer;
};
constexpr std::array kEncodedTypes = {
    EncodedType{DType::q4_0, "quantize_q4_0"}, EncodedType{DType::q4_1, "quantize_q4_1"},
    EncodedType{DType::q5_0, "quantize_q5_0"}, EncodedType{DType::q5_1, "quantize_q5_1"},
    EncodedType{DType::q8_0, "quantize_q8_0"}, EncodedType{DType::iq4_nl, "quantize_iq4_nl"},
    EncodedType{DType::q2_k, "quantize_q2_K"}, EncodedType{DType::q3_k, "quantize_q3_K"},
    EncodedType{DType::q4_k, "quantize_q4_K"}, EncodedType{DType::q5_k, "quantize_q5_K"},
    EncodedType{DType::q6_k, "quantize_q6_K"}, EncodedType{DType::iq4_xs, "quantize_iq4_xs"},
};

/// llama.cpp's quantisers: values, target, rows, columns, importance of columns or null.
using PeerEncoder = std::size_t (*)(const float*, void*, std::int64_t, std::int64_t, const float*);

struct Encoding {
  double rate;   // million values a second
  double error;  // √(Σ importance × error² / Σ importance × value²)
};

Encoding measure(DType dtype, const std::vector<float>& values, const float* importance,
                 const std::function<void(void* target)>& encode) {
  std::vector<std::uint8_t> blocks(stored_bytes(dtype, kBenchValues));
  const std::clock_t begin = std::clock();
  encode(blocks.data());
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  std::vector<float> back(values.size());
  decode_blocks(dtype, blocks.data(), kBenchValues, back.data());
  double error = 0.0;
  double square = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double weight = importance != nullptr ? importance[i % kBenchColumns] : 1.0;
    error += weight * std::pow(static_cast<double>(back[i]) - values[i], 2);
    square += weight * std::pow(static_cast<double>(values[i]), 2);
  }
  return {static_cast<double>(kBenchValues) / 1e6 / seconds, std::sqrt(error / square)};
}

void run(const char* library) {
  void* peer = library != nullptr ? dlopen(library, RTLD_NOW) : nullptr;
  require(library == nullptr || peer != nullptr, "cannot load {}: {}", library != nullptr ? library : "",
          peer == nullptr && library != nullptr ? dlerror() : "");
  std::mt19937 random(1);
  std::student_t_distribution<float> heavy_tailed(5.0F);
  std::lognormal_distribution<float> spread(0.0F, 1.5F);
  std::vector<float> values(kBenchValues);
  std::vector<float> columns(kBenchColumns);
  for (float& value : values) value = 0.02F * heavy_tailed(random);
  for (float& column : columns) column = spread(random);

  fmt::print("{:7} {:10}  {:>9} {:>8}  {:>9} {:>8}  {:>12}\n", "type", "importance", "M values/s", "error",
             "peer", "error", "error ratio");
  for (const EncodedType& type : kEncodedTypes) {
    for (const bool weighted : {false, true}) {
      const float* importance = weighted ? columns.data() : nullptr;
      const Encoding ours = measure(type.dtype, values, importance, [&](void* target) {
        auto* bytes = static_cast<std::uint8_t*>(target);
        for (std::int64_t row = 0; row < kBenchRows; ++row)
          kernels::encode_blocks(
              type.dtype, values.data() + row * kBenchColumns, kBenchColumns, importance,
              bytes + static_cast<std::size_t>(row) * stored_bytes(type.dtype, kBenchColumns));
      });
      fmt::print("{:7} {:10}  {:9.1f} {:8.5f}", dtype_name(type.dtype), importance != nullptr ? "yes" : "no",
                 ours.rate, ours.error);
      if (peer != nullptr) {
        const auto encode = reinterpret_cast<PeerEncoder>(dlsym(peer, type.peer));
        require(encode != nullptr, "{} has no {}", library, type.peer);
        const Encoding theirs = measure(type.dtype, values, importance, [&](void* target) {
          encode(values.data(), target, kBenchRows, kBenchColumns, importance);
        });
        fmt::print("  {:9.1f} {:8.5f}  {:12.4f}", theirs.rate, theirs.error, ours.error / theirs.error);
      }
      fmt::print("\n");
    }
  }
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  try {
    fathom::run(argc > 1 ? argv[1] : nullptr);
  } catch (const std::exception& error) {
    fmt::print(stderr, "encode_bench: {}\n", error.what());
    return 1;
  }
  return 0;
}
