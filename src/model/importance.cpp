#include "model/importance.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "numerics/convert.h"

namespace fathom {
namespace {

constexpr std::string_view kSumsEnding = ".in_sum2";
constexpr std::string_view kCountsEnding = ".counts";
constexpr std::string_view kDatasetsKey = "imatrix.datasets";
constexpr std::string_view kChunksKey = "imatrix.chunk_count";
constexpr std::string_view kChunkTokensKey = "imatrix.chunk_size";
constexpr std::string_view kTypeKey = "general.type";

/// The name under which a tensor's inputs are known.
std::string measured_name(std::string_view tensor) {
  std::string name(tensor);
  const std::size_t at = name.find("attn_v_b.");
  if (at != std::string::npos) name.replace(at, std::string_view("attn_v_b.").size(), "attn_kv_b.");
  return name;
}

}  // namespace

void ImportanceMatrix::add(const std::string& tensor, std::int64_t matrices, std::int64_t matrix,
                           const std::vector<double>& squares, std::int64_t tokens) {
  Entry& entry = entries_[tensor];
  const auto columns = static_cast<std::int64_t>(squares.size());
  if (entry.tokens.empty()) {
    entry.columns = columns;
    entry.square_sums.resize(static_cast<std::size_t>(matrices * columns));
    entry.tokens.resize(static_cast<std::size_t>(matrices));
  }
  require(entry.columns == columns && static_cast<std::int64_t>(entry.tokens.size()) == matrices,
          "inputs of {} columns for {} of {} matrices with {}", columns, tensor, entry.tokens.size(),
          entry.columns);
  entry.tokens.at(static_cast<std::size_t>(matrix)) += tokens;
  for (std::size_t i = 0; i < squares.size(); ++i)
    entry.square_sums[static_cast<std::size_t>(matrix) * squares.size() + i] += squares[i];
}

Tensor ImportanceMatrix::mean_squares(std::string_view tensor, const Shape& shape) const {
  auto found = entries_.find(tensor);
  if (found == entries_.end()) found = entries_.find(measured_name(tensor));
  if (found == entries_.end()) return {};
  const Entry& entry = found->second;
  const auto measured = static_cast<std::int64_t>(entry.tokens.size());
  const std::int64_t matrices = shape.size() == 3 ? shape[0] : 1;
  require(shape.back() == entry.columns && (measured == matrices || measured == 1),
          "the importance matrix has {} × {} columns for tensor {}, which is {}: it is of another model",
          measured, entry.columns, tensor, shape_text(shape));

  const auto columns = static_cast<std::size_t>(entry.columns);
  std::vector<double> mean(columns);  // of all matrices
  double all_tokens = 0.0;
  for (std::size_t m = 0; m < entry.tokens.size(); ++m) {
    all_tokens += static_cast<double>(entry.tokens[m]);
    for (std::size_t i = 0; i < columns; ++i) mean[i] += entry.square_sums[m * columns + i];
  }
  if (all_tokens <= 0.0) return {};
  for (double& value : mean) value /= all_tokens;

  Tensor result = Tensor::empty({matrices, entry.columns});
  for (std::size_t m = 0; m < static_cast<std::size_t>(matrices); ++m) {
    const std::size_t from = measured == 1 ? 0 : m;
    const double tokens = static_cast<double>(entry.tokens[from]) + kPriorTokens;
    for (std::size_t i = 0; i < columns; ++i)
      result.f32()[m * columns + i] =
          static_cast<float>((entry.square_sums[from * columns + i] + kPriorTokens * mean[i]) / tokens);
  }
  return result;
}

void write_importance(const std::filesystem::path& path, const ImportanceMatrix& importance) {
  GgufMetadata metadata;
  metadata.set(kTypeKey, std::string("imatrix"));
  metadata.set(kDatasetsKey, GgufArray{importance.datasets});
  metadata.set(kChunksKey, static_cast<std::uint32_t>(importance.chunks));
  metadata.set(kChunkTokensKey, static_cast<std::uint32_t>(importance.chunk_tokens));
  std::vector<StoredTensor> layout;
  for (const auto& [name, entry] : importance.entries()) {
    const auto matrices = static_cast<std::int64_t>(entry.tokens.size());
    layout.push_back({name + std::string(kSumsEnding), {matrices, entry.columns}, DType::f32});
    layout.push_back({name + std::string(kCountsEnding), {matrices, 1}, DType::f32});
  }
  GgufWriter writer(path, metadata, layout);
  for (const auto& [name, entry] : importance.entries()) {
    const auto matrices = static_cast<std::int64_t>(entry.tokens.size());
    Tensor sums = Tensor::empty({matrices, entry.columns});
    Tensor counts = Tensor::empty({matrices, 1});
    std::ranges::transform(entry.square_sums, sums.f32(), [](double sum) { return static_cast<float>(sum); });
    std::ranges::transform(entry.tokens, counts.f32(),
                           [](std::int64_t count) { return static_cast<float>(count); });
    writer.write(name + std::string(kSumsEnding), sums);
    writer.write(name + std::string(kCountsEnding), counts);
  }
  writer.commit();
}

ImportanceMatrix read_importance(const std::filesystem::path& path) {
  const GgufFile file(path);
  const GgufValue* type = file.metadata().find(kTypeKey);
  const auto* type_text = type != nullptr ? std::get_if<std::string>(type) : nullptr;
  require(type_text != nullptr && *type_text == "imatrix",
          "{}: not an importance matrix: general.type is not \"imatrix\"; make one with fathom imatrix",
          path.string());
  ImportanceMatrix importance;
  const auto number = [&](std::string_view key) {
    const GgufValue* value = file.metadata().find(key);
    return value != nullptr ? integer_of(*value).value_or(0) : 0;
  };
  importance.chunks = number(kChunksKey);
  importance.chunk_tokens = number(kChunkTokensKey);
  if (const GgufValue* value = file.metadata().find(kDatasetsKey))
    if (const auto* array = std::get_if<GgufArray>(value))
      if (const auto* names = std::get_if<std::vector<std::string>>(&array->values))
        importance.datasets = *names;

  for (const std::string& name : file.names()) {
    if (!name.ends_with(kSumsEnding)) continue;
    const std::string tensor = name.substr(0, name.size() - kSumsEnding.size());
    const Tensor sums = file.get(name);
    const std::int64_t columns = sums.shape().empty() ? 0 : sums.shape().back();
    require(sums.dtype() == DType::f32 && columns > 0 && sums.size() > 0,
            "{}: {} is {} of {}, expected [matrices, columns] of F32", path.string(), name,
            dtype_name(sums.dtype()), shape_text(sums.shape()));
    const std::int64_t matrices = sums.size() / columns;
    const Tensor counts = file.get(tensor + std::string(kCountsEnding));
    require(counts.dtype() == DType::f32 && counts.size() == matrices,
            "{}: {} matrices, but {} counts for {}", path.string(), matrices, counts.size(), tensor);
    for (std::int64_t m = 0; m < matrices; ++m) {
      const float tokens = counts.f32()[m];
      require(tokens >= 0.0F && tokens < 1e15F, "{}: a count of {} for {}", path.string(), tokens, tensor);
      std::vector<double> squares(sums.f32() + m * columns, sums.f32() + (m + 1) * columns);
      for (const double square : squares)
        require(std::isfinite(square) && square >= 0.0, "{}: a sum of squares of {} for {}", path.string(),
                square, tensor);
      importance.add(tensor, matrices, m, squares, static_cast<std::int64_t>(tokens));
    }
  }
  require(!importance.entries().empty(), "{}: the importance matrix is empty", path.string());
  return importance;
}

}  // namespace fathom
