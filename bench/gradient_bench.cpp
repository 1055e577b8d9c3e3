// What low precision does to gradients: the cosine of each tensor's gradient in bf16 and in fp8 with that in
// f32, for one batch of held-out text. A ratio to 1, the limit.
//
// usage: gradient_bench [MODEL DATA] [SVG] [THREADS]
// MODEL is a checkpoint of `fathom train` (RUN/latest) or another model folder, DATA what `fathom prepare`
// made with its tokenizer; by default those of tools/reproduce/fp8.sh. Tensors of one kind are a row of the
// table; the picture has a point for each tensor, in the order of the forward pass.

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/thread_pool.h"
#include "kernels/simd_limit.h"
#include "model/fp8_weights.h"
#include "model/load.h"
#include "model/transformer.h"
#include "plan/name_groups.h"
#include "train/batch_loader.h"
#include "train/data_manifest.h"
#include "train/line_chart.h"
#include "train/token_dataset.h"

namespace {

using namespace fathom;

constexpr std::int64_t kSequences = 16;
constexpr std::int64_t kLength = 256;

struct Gradients {
  double loss = 0;
  TransformerWeights tensors;
};

Gradients gradients_in(Precision precision, LoadedModel& model, const Batch& batch, ThreadPool& pool) {
  const Context context{pool, precision};
  if (precision == Precision::fp8) quantize_weights(context, model.weights);
  const Transformer transformer(model.config, model.weights, kLength);
  Transformer::Saved saved;
  Gradients result;
  result.loss = transformer.forward(context, batch, {}, &saved).main;
  result.tensors = zero_weights(model.config);
  transformer.backward(context, batch, {}, 1.0, saved, result.tensors);
  return result;
}

struct Products {
  double ab = 0;
  double aa = 0;
  double bb = 0;
  void add(const Products& other) {
    ab += other.ab;
    aa += other.aa;
    bb += other.bb;
  }
  /// Not so of an expert that no token of the batch chose, or a selection bias.
  [[nodiscard]] bool has_gradient() const { return bb != 0; }
  [[nodiscard]] double cosine() const { return ab / std::sqrt(aa * bb); }
  /// Length of a over that of b.
  [[nodiscard]] double length() const { return std::sqrt(aa / bb); }
};

Products products_of(std::span<const float> a, std::span<const float> b) {
  Products sums;
  for (std::size_t i = 0; i < a.size(); ++i)
    sums.add({double{a[i]} * b[i], double{a[i]} * a[i], double{b[i]} * b[i]});
  return sums;
}

/// A tensor's gradient beside that in f32.
struct TensorProducts {
  std::string name;
  Products products;
};

/// All tensors, in the order of the forward pass.
std::vector<TensorProducts> compare(const ModelConfig& config, TransformerWeights& narrow,
                                    TransformerWeights& wide) {
  std::vector<std::span<const float>> reference;
  visit_parameters(config, wide, [&](const ParameterSpec&, Tensor& value, Tensor*) {
    reference.push_back(value.values());
  });
  std::vector<TensorProducts> tensors;
  visit_parameters(config, narrow, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    tensors.push_back({spec.name, products_of(value.values(), reference[tensors.size()])});
  });
  return tensors;
}

void print_table(const std::vector<TensorProducts>& tensors) {
  std::vector<std::string> names;
  std::map<std::string, Products> products;
  for (const TensorProducts& tensor : tensors) {
    names.push_back(tensor.name);
    products[tensor.name] = tensor.products;
  }
  fmt::print("  {:<60} {:>7} {:>9} {:>9}\n", "cosine with f32", "tensors", "mean", "least");
  Products all;
  int with_gradient = 0;
  for (const NameGroup& group : group_names(names)) {
    int count = 0;
    double sum = 0;
    double least = 1;
    for (const std::string& name : group.names) {
      const Products& tensor = products.at(name);
      if (!tensor.has_gradient()) continue;
      ++count;
      sum += tensor.cosine();
      least = std::min(least, tensor.cosine());
      all.add(tensor);
    }
    if (count == 0) continue;
    with_gradient += count;
    fmt::print("  {:<60} {:>7} {:>9.5f} {:>9.5f}\n", group.pattern, count, sum / count, least);
  }
  fmt::print("  {:<60} {:>7} {:>9.5f}   (length {:.4f} of f32's)\n", "the whole gradient", with_gradient,
             all.cosine(), all.length());
}

void run(const std::filesystem::path& folder, const std::filesystem::path& data_folder,
         const std::string& picture, std::size_t threads) {
  ThreadPool pool(threads);
  LoadedModel model = load_model_f32(folder);
  const DataManifest manifest = load_data_manifest(data_folder);
  const TokenDataset data(data_folder, manifest, "held_out", pool);
  if (data.tokens() <= kSequences * kLength)
    fail("{}: has {} held-out tokens, and {} are needed", data_folder.string(), data.tokens(),
         kSequences * kLength + 1);
  const Batch batch = consecutive_batch(data, 0, kSequences * kLength, kLength);

  Gradients wide = gradients_in(Precision::f32, model, batch, pool);
  fmt::print("{} tokens of held-out text, loss {:.5f} in f32\n", kSequences * kLength, wide.loss);
  LineChart chart{.title = "Cosine of a tensor's gradient with its gradient in f32", .lines = {}};
  for (const auto& [name, precision] : {std::pair{"bf16", Precision::bf16}, {"fp8", Precision::fp8}}) {
    Gradients narrow = gradients_in(precision, model, batch, pool);
    fmt::print("\n{}: loss {:.5f} ({:+.4f} %)\n", name, narrow.loss, 100 * (narrow.loss / wide.loss - 1));
    const std::vector<TensorProducts> tensors = compare(model.config, narrow.tensors, wide.tensors);
    print_table(tensors);
    ChartLine line{.name = name, .points = {}};
    for (const TensorProducts& tensor : tensors)
      if (tensor.products.has_gradient())
        line.points.push_back({static_cast<double>(line.points.size()), tensor.products.cosine()});
    chart.lines.push_back(std::move(line));
  }
  if (!picture.empty()) {
    const std::vector<LineChart> charts = {std::move(chart)};
    write_file_atomically(picture, line_charts_svg(charts, "tensor, from the embedding to the head"));
  }
}

}  // namespace

int main(int argc, char** argv) {
  fathom::kernels::limit_simd_by_environment();
  const std::filesystem::path made = std::filesystem::path(FATHOM_SOURCE_DIR) / "reproduce-run";
  const std::filesystem::path model = argc > 1 ? argv[1] : made / "fp8/bf16/latest";
  const std::filesystem::path data = argc > 2 ? argv[2] : made / "corpus/data";
  if (argc <= 2 && !(exists(model) && exists(data))) {
    fmt::print("needs a trained model and its data: run tools/reproduce/fp8.sh, or name them\n");
    return 0;
  }
  try {
    run(model, data, argc > 3 ? argv[3] : "", argc > 4 ? std::strtoul(argv[4], nullptr, 10) : 0);
  } catch (const fathom::Error& error) {
    fmt::print(stderr, "gradient_bench: {}\n", error.what());
    return 1;
  }
}
