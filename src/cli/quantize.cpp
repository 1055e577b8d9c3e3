// `fathom quantize`: a model in fewer bits.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "io/gguf.h"
#include "model/importance.h"
#include "model/quantize.h"

namespace fathom::cli {
namespace {

struct QuantizeCommand {
  std::string model;
  std::string output;
  std::string type = "Q4_K_M";
  std::vector<std::string> overrides;
  std::optional<std::string> importance;
  std::size_t threads = 0;
  bool json = false;
  bool dry_run = false;
};

/// Sums over tensors of one role, or of all.
struct RoleSums {
  std::int64_t tensors = 0;
  std::int64_t values = 0;
  std::uint64_t bytes_before = 0;
  std::uint64_t bytes_after = 0;
  double error_square = 0.0;
  double square = 0.0;
  std::vector<DType> types;

  void add(const QuantizedTensor& tensor) {
    ++tensors;
    values += tensor.values;
    bytes_before += tensor.bytes_before;
    bytes_after += tensor.bytes_after;
    error_square += tensor.error_square;
    square += tensor.square;
    if (std::ranges::find(types, tensor.to) == types.end()) types.push_back(tensor.to);
  }
  [[nodiscard]] double bits_per_value() const {
    return 8.0 * static_cast<double>(bytes_after) / static_cast<double>(std::max<std::int64_t>(1, values));
  }
  /// Root of the squared errors over that of the squared values.
  [[nodiscard]] double relative_error() const {
    return square > 0.0 ? std::sqrt(error_square / square) : 0.0;
  }
};

std::string types_text(const std::vector<DType>& types) {
  std::string text;
  for (const DType type : types) text += fmt::format("{}{}", text.empty() ? "" : " ", dtype_name(type));
  return text;
}

std::string table_line(std::string_view name, const RoleSums& sums, bool with_error) {
  return fmt::format("{:<26} {:>8} {:>10} {:>10} {:>6.2f} {:>9}  {}\n", name, sums.tensors,
                     format_bytes(sums.bytes_before), format_bytes(sums.bytes_after), sums.bits_per_value(),
                     with_error && sums.square > 0.0 ? fmt::format("{:.5f}", sums.relative_error()) : "-",
                     types_text(sums.types));
}

std::string quantized_table(const std::vector<QuantizedTensor>& tensors, bool with_error) {
  std::array<RoleSums, kTensorRoles> roles;
  RoleSums all;
  for (const QuantizedTensor& tensor : tensors) {
    roles[static_cast<std::size_t>(tensor.role)].add(tensor);
    all.add(tensor);
  }
  std::string text = fmt::format("{:<26} {:>8} {:>10} {:>10} {:>6} {:>9}  types\n", "", "tensors", "before",
                                 "after", "bits", "error");
  for (std::size_t role = 0; role < roles.size(); ++role)
    if (roles[role].tensors > 0)
      text += table_line(tensor_role_name(static_cast<TensorRole>(role)), roles[role], with_error);
  return text + table_line("all", all, with_error);
}

std::string quantized_json(const std::vector<QuantizedTensor>& tensors, bool with_error) {
  auto list = nlohmann::ordered_json::array();
  RoleSums all;
  for (const QuantizedTensor& tensor : tensors) {
    all.add(tensor);
    nlohmann::ordered_json entry = {
        {"name", tensor.name},
        {"from", dtype_name(tensor.from)},
        {"to", dtype_name(tensor.to)},
        {"values", tensor.values},
        {"bytes_before", tensor.bytes_before},
        {"bytes_after", tensor.bytes_after},
        {"weighted", tensor.weighted},
    };
    if (with_error && tensor.square > 0.0)
      entry["relative_error"] = std::sqrt(tensor.error_square / tensor.square);
    list.push_back(std::move(entry));
  }
  const nlohmann::ordered_json json = {{"bytes_before", all.bytes_before},
                                       {"bytes_after", all.bytes_after},
                                       {"bits_per_value", all.bits_per_value()},
                                       {"tensors", std::move(list)}};
  return json.dump() + "\n";
}

void print_quantized(const QuantizeCommand& command, const std::vector<QuantizedTensor>& tensors,
                     bool with_error) {
  const std::string text =
      command.json ? quantized_json(tensors, with_error) : quantized_table(tensors, with_error);
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  require(written, "cannot write the summary: {}", errno_text(errno));
}

void run_quantize(const QuantizeCommand& command) {
  const QuantRecipe& recipe = find_quant_recipe(command.type);
  QuantizeOptions options{recipe};
  for (const std::string& text : command.overrides) options.overrides.push_back(parse_type_override(text));
  require(is_gguf_path(command.model), "{}: quantize reads GGUF files: make one first, with fathom convert",
          command.model);
  const GgufFile source(command.model);
  if (command.dry_run) return print_quantized(command, plan_quantization(source, options), false);

  require(!command.output.empty(), "name the file to write");
  std::error_code error;
  for (const GgufFile::Part& part : source.parts())
    require(!std::filesystem::equivalent(part.path, command.output, error),
            "{} cannot be written over while it is read", command.output);
  std::optional<ImportanceMatrix> importance;
  if (command.importance) options.importance = &importance.emplace(read_importance(*command.importance));

  ThreadPool pool(command.threads);
  ProgressLine progress;
  const double start = monotonic_seconds();
  options.progress = [&](std::int64_t done, std::int64_t all) {
    const double seconds = monotonic_seconds() - start;
    const double rate = static_cast<double>(done) / std::max(seconds, 1e-9);
    progress.update(
        fmt::format("quantising: {:.0f} %, {:.1f} M values/s, {} left",
                    100.0 * static_cast<double>(done) / static_cast<double>(std::max<std::int64_t>(1, all)),
                    rate / 1e6, format_duration(static_cast<double>(all - done) / std::max(rate, 1e-9))));
  };
  const std::vector<QuantizedTensor> tensors = quantize_gguf(pool, source, command.output, options);
  std::uint64_t bytes = 0;
  for (const QuantizedTensor& tensor : tensors) bytes += tensor.bytes_after;
  progress.finish(fmt::format("{}: {} of {} in {}", command.output, format_bytes(bytes), recipe.name,
                              format_duration(monotonic_seconds() - start)));
  print_quantized(command, tensors, true);
}

std::string recipes_text() {
  std::string text = "Recipes:\n";
  for (const QuantRecipe& recipe : quant_recipes())
    text += fmt::format("  {:<8} {}\n", recipe.name, recipe.remark);
  return text;
}

}  // namespace

void add_quantize(CLI::App& app) {
  auto options = std::make_shared<QuantizeCommand>();
  CLI::App* command = app.add_subcommand("quantize", "A GGUF file's tensors in fewer bits, by a recipe");
  command
      ->add_option("model", options->model,
                   "GGUF file to read, best in BF16 or F32; of a split one, any part")
      ->required();
  command->add_option("output", options->output, "GGUF file to write");
  command->add_option("--type", options->type, "Recipe (below)")->capture_default_str();
  command
      ->add_option(
          "--recipe", options->overrides,
          "EXPRESSION=TYPE: tensors in whose name the expression is found get that type; the last one that "
          "matches decides")
      ->allow_extra_args(false);
  command->add_option("--imatrix", options->importance, "Importance matrix, of fathom imatrix or llama.cpp");
  add_threads_option(*command, options->threads);
  command->add_flag("--dry-run", options->dry_run, "Only say what would be written");
  command->add_flag("--json", options->json, "Print the summary as JSON, tensor by tensor");
  command->footer(recipes_text());
  command->callback([options] { run_quantize(*options); });
}

}  // namespace fathom::cli
