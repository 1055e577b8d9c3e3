#include "model/quantize.h"

#include <algorithm>

#include "base/error.h"
#include "io/gguf_writer.h"
#include "kernels/encode_blocks.h"
#include "model/gguf_names.h"
#include "numerics/convert.h"

namespace fathom {
namespace {

constexpr std::int64_t kBandValues = std::int64_t{1} << 22U;  // 16 MiB of f32, unless one matrix has more
constexpr std::int64_t kItemValues = std::int64_t{1} << 14U;

struct ErrorSums {
  double error_square = 0.0;
  double square = 0.0;
};

/// Rows [begin, end) of `source` in the type of `target`, and what that costs.
ErrorSums encode_rows(const Tensor& source, Tensor& target, std::int64_t begin, std::int64_t end,
                      const std::function<const float*(std::int64_t row)>& importance) {
  const std::int64_t columns = source.dim(1);
  const std::size_t row_bytes = stored_bytes(target.dtype(), columns);
  std::vector<float> values(static_cast<std::size_t>(columns));
  std::vector<float> back(values.size());
  ErrorSums sums;
  for (std::int64_t row = begin; row < end; ++row) {
    const Tensor stored = source.rows(row, row + 1);
    widen_to_f32(stored.data(), stored.dtype(), columns, values.data());
    std::byte* bytes = target.bytes().data() + static_cast<std::size_t>(row) * row_bytes;
    if (is_block_quantized(target.dtype())) {
      kernels::encode_blocks(target.dtype(), values.data(), columns, importance(row), bytes);
    } else {
      require(narrow_from_f32(values.data(), columns, target.dtype(), bytes), "a value too large for {}",
              dtype_name(target.dtype()));
    }
    widen_to_f32(bytes, target.dtype(), columns, back.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double error = static_cast<double>(values[i]) - static_cast<double>(back[i]);
      sums.error_square += error * error;
      sums.square += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    }
  }
  return sums;
}

/// Quantises and writes one tensor, a band of its first dimension at a time.
class TensorQuantizer {
 public:
  TensorQuantizer(ThreadPool& pool, GgufWriter& writer, Tensor source, Tensor importance)
      : pool_(pool), writer_(writer), source_(std::move(source)), importance_(std::move(importance)) {}

  void run(QuantizedTensor& report, const std::function<void(std::int64_t values)>& done) {
    const std::int64_t slices = source_.dim(0);
    const std::int64_t slice_values = source_.size() / std::max<std::int64_t>(1, slices);
    const std::int64_t band =
        std::max<std::int64_t>(1, kBandValues / std::max<std::int64_t>(1, slice_values));
    for (std::int64_t begin = 0; begin < slices; begin += band) {
      const std::int64_t end = std::min(slices, begin + band);
      write_band(begin, end, report);
      done((end - begin) * slice_values);
    }
  }

 private:
  void write_band(std::int64_t begin, std::int64_t end, QuantizedTensor& report) {
    const Tensor band = source_.rows(begin, end);
    if (report.from == report.to) {
      writer_.write(report.name, band);
      return;
    }
    const std::int64_t columns = source_.shape().back();
    const std::int64_t rows = band.size() / columns;
    const std::int64_t rows_per_matrix = source_.shape().size() == 3 ? source_.dim(1) : rows;
    const Tensor matrix = band.reshape({rows, columns});
    Tensor target = Tensor::empty({rows, columns}, report.to);
    const auto importance = [&](std::int64_t row) -> const float* {
      if (!importance_.defined()) return nullptr;
      return importance_.f32() + (source_.shape().size() == 3 ? begin + row / rows_per_matrix : 0) * columns;
    };
    const auto grain = static_cast<std::size_t>(std::max<std::int64_t>(1, kItemValues / columns));
    std::vector<ErrorSums> sums((static_cast<std::size_t>(rows) + grain - 1) / grain);
    pool_.parallel_ranges(static_cast<std::size_t>(rows), grain, [&](std::size_t from, std::size_t to) {
      try {
        sums[from / grain] = encode_rows(matrix, target, static_cast<std::int64_t>(from),
                                         static_cast<std::int64_t>(to), importance);
      } catch (const Error& error) {
        fail("tensor {}, rows from {}: {}", report.name,
             begin * rows_per_matrix + static_cast<std::int64_t>(from), error.what());
      }
    });
    for (const ErrorSums& part : sums) {
      report.error_square += part.error_square;
      report.square += part.square;
    }
    writer_.write(report.name, target.reshape(band.shape()));
  }

  ThreadPool& pool_;
  GgufWriter& writer_;
  Tensor source_;
  Tensor importance_;  // [matrices, columns], or undefined
};

}  // namespace

std::vector<QuantizedTensor> plan_quantization(const GgufFile& source, const QuantizeOptions& options) {
  require(!source.metadata().contains(kGgufPackKey),
          "{}: its experts are in a pack: quantise the model first, then pack its experts",
          source.path().string());
  std::vector<QuantizedTensor> plan;
  for (const GgufFile::Part& part : source.parts()) {
    for (const GgufTensor& stored : part.tensors) {
      require(stored.type->dtype.has_value(),
              "{}: tensor {} is {}, which Fathom does not read: start from a BF16 file", part.path.string(),
              stored.name, stored.type->name);
      QuantizedTensor tensor;
      tensor.name = stored.name;
      tensor.role = tensor_role(stored.name, stored.shape);
      tensor.from = *stored.type->dtype;
      tensor.to = recipe_type(options.recipe, options.overrides, stored.name, stored.shape, tensor.from);
      tensor.values = element_count(stored.shape);
      tensor.bytes_before = stored.bytes;
      tensor.bytes_after = stored_bytes(tensor.to, tensor.values);
      plan.push_back(std::move(tensor));
    }
  }
  return plan;
}

std::vector<QuantizedTensor> quantize_gguf(ThreadPool& pool, const GgufFile& source,
                                           const std::filesystem::path& target,
                                           const QuantizeOptions& options) {
  std::vector<QuantizedTensor> tensors = plan_quantization(source, options);
  GgufMetadata metadata;
  for (const auto& [key, value] : source.metadata().entries())
    if (!key.starts_with("split.")) metadata.set(key, value);  // one file comes of many
  metadata.set("general.file_type", options.recipe.file_type);
  metadata.set("general.quantization_version", std::uint32_t{2});
  std::vector<StoredTensor> layout;
  std::int64_t all = 0;
  for (const QuantizedTensor& tensor : tensors) {
    layout.push_back({tensor.name, source.find(tensor.name)->shape, tensor.to});
    all += tensor.values;
  }
  GgufWriter writer(target, metadata, layout);
  std::int64_t done = 0;
  for (QuantizedTensor& tensor : tensors) {
    const Shape& shape = source.find(tensor.name)->shape;
    Tensor importance;
    if (options.importance != nullptr && is_block_quantized(tensor.to) && tensor.from != tensor.to)
      importance = options.importance->mean_squares(tensor.name, shape);
    tensor.weighted = importance.defined();
    TensorQuantizer(pool, writer, source.get(tensor.name), importance).run(tensor, [&](std::int64_t values) {
      done += values;
      if (options.progress) options.progress(done, all);
    });
  }
  writer.commit();
  return tensors;
}

}  // namespace fathom
