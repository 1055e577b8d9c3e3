// `fathom convert`: a model from safetensors to GGUF and back, or to another type.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "infer/text_model.h"
#include "io/gguf.h"
#include "model/gguf_load.h"
#include "model/gguf_save.h"
#include "model/gguf_tokenizer.h"
#include "model/save.h"
#include "text/tokenizer_spec.h"
#include "text/tokenizer_writer.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  std::string model;
  std::string output;
  std::string type = "bf16";
  std::string scales = "f32";
  std::string kv_b = "split";
  std::string name;
  CLI::Option* part_given = nullptr;
  std::uint64_t part_bytes = 0;
  std::size_t threads = 0;
  bool overwrite = false;
  bool no_mtp = false;
};

struct Source {
  LoadedModel model;
  std::optional<TokenizerSpec> tokenizer;
};

Source load_source(const fs::path& named) {
  if (is_gguf_path(named)) {
    const GgufFile file(named);
    Source source{load_gguf_model(file), {}};
    if (file.metadata().contains("tokenizer.ggml.tokens")) source.tokenizer = gguf_tokenizer_spec(file);
    return source;
  }
  const fs::path folder = find_model_folder(named);
  Source source{load_model(folder), {}};
  if (fs::exists(folder / "tokenizer.json")) source.tokenizer = read_tokenizer_spec(folder);
  return source;
}

DType type_named(const std::string& name) {
  const auto lower = [](unsigned char c) { return static_cast<char>(std::tolower(c)); };
  if (std::ranges::equal(name, std::string_view("fp8"), {}, lower)) return DType::f8_e4m3;
  if (const auto type = dtype_from_text(name)) return *type;
  throw UsageError(
      fmt::format("--type {} is not one of f32, f16, bf16, fp8, q8_0, q6_k, q5_k, q4_k, q4_0 and the like",
                  printable(name)));
}

/// Shows how far a conversion is.
class ConvertProgress {
 public:
  void update(double done, const std::string& what) {
    line_.update(fmt::format("{:3.0f} %  {}", 100.0 * done, what));
  }
  void finish(const std::string& what) {
    line_.finish(fmt::format("{} in {}", what, format_duration(monotonic_seconds() - began_)));
  }

 private:
  ProgressLine line_;
  double began_ = monotonic_seconds();
};

void write_gguf(const ConvertOptions& options, const Source& source) {
  ThreadPool pool(options.threads);
  ConvertProgress progress;
  std::uint64_t total = 0;
  GgufSaveOptions save;
  save.dtype = type_named(options.type);
  save.split_kv_b = options.kv_b == "split";
  save.max_part_bytes = options.part_bytes;
  save.name = options.name.empty() ? fs::path(options.model).stem().string() : options.name;
  save.progress = [&](std::uint64_t written, std::uint64_t of) {
    total = of;
    progress.update(static_cast<double>(written) / static_cast<double>(of),
                    fmt::format("{} of {}", format_bytes(written), format_bytes(of)));
  };
  const auto paths = save_gguf(pool, options.output, source.model.config, source.model.weights,
                               source.tokenizer ? &*source.tokenizer : nullptr, save);
  progress.finish(fmt::format("{}: {}{}", paths.front().string(), format_bytes(total),
                              paths.size() == 1 ? "" : fmt::format(" in {} parts", paths.size())));
}

/// Ids that stand for nothing become added tokens, as `tokenizers` numbers what comes after them by their
/// count.
TokenizerSpec without_unused_tokens(TokenizerSpec spec) {
  std::vector<bool> is_added(spec.tokens.size(), false);
  for (const AddedToken& token : spec.added_tokens) is_added[static_cast<std::size_t>(token.id)] = true;
  for (std::size_t id = spec.model_tokens; id < spec.tokens.size(); ++id) {
    if (is_added[id] || spec.tokens[id].empty()) continue;
    AddedToken unused;
    unused.id = static_cast<std::int32_t>(id);
    unused.content = spec.tokens[id];
    spec.added_tokens.push_back(std::move(unused));
  }
  std::ranges::sort(spec.added_tokens, {}, &AddedToken::id);
  return spec;
}

void write_folder(const ConvertOptions& options, const Source& source) {
  ConvertProgress progress;
  SaveOptions save;
  save.dtype = type_named(options.type);
  save.fp8_scales = options.scales == "ue8m0" ? ScaleFormat::power_of_two : ScaleFormat::f32;
  if (options.part_given->count() > 0) save.max_shard_bytes = options.part_bytes;
  if (source.tokenizer) write_tokenizer(without_unused_tokens(*source.tokenizer), options.output);
  save_model(options.output, source.model.config, source.model.weights, save);
  progress.finish(options.output);
}

/// Weights are mapped from the source while the target is written.
void require_other_place(const ConvertOptions& options) {
  std::error_code ignored;
  if (!fs::exists(options.output, ignored)) return;
  require(!fs::equivalent(options.model, options.output, ignored),
          "{}: is the model itself; write to another place", options.output);
  require(options.overwrite, "{}: exists; remove it, or say --overwrite", options.output);
}

void convert(const ConvertOptions& options) {
  (void)type_named(options.type);
  require_other_place(options);
  Source source = load_source(options.model);
  if (options.no_mtp) {
    source.model.config.num_nextn_predict_layers = 0;
    source.model.weights.mtp.clear();
  }
  if (!source.tokenizer) log_warning("{}: has no tokenizer; neither will the result", options.model);
  if (is_gguf_path(options.output)) {
    write_gguf(options, source);
  } else {
    write_folder(options, source);
  }
}

}  // namespace

void add_convert(CLI::App& app) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand(
      "convert", "Write a model as GGUF, or as a Hugging Face folder of safetensors, with its tokenizer");
  command->add_option("model", options->model, kModelHelp)->required();
  command->add_option("output", options->output, "A name that ends in .gguf, or else a folder to make")
      ->required();
  command->add_option(
      "--type", options->type,
      "Type of matrices: f32, f16, bf16; in GGUF also q8_0, q6_k, q4_k and so on, without calibration; "
      "in safetensors also fp8 (default: bf16)");
  options->part_given =
      command->add_option("--max-file-bytes", options->part_bytes,
                          "Split into files with at most so much tensor data (default: 5G of "
                          "safetensors; GGUF is not split)");
  options->part_given->transform(CLI::AsSizeValue(false));
  command
      ->add_option(
          "--kv-b", options->kv_b,
          "In GGUF: `split` kv_b_proj in halves, as llama.cpp wants it (default), or `whole`, as older "
          "files and ik_llama.cpp have it")
      ->check(CLI::IsMember({"split", "whole"}));
  command->add_option("--fp8-scales", options->scales, "Scales of fp8: f32 (default) or ue8m0, powers of two")
      ->check(CLI::IsMember({"f32", "ue8m0"}));
  command->add_option("--name", options->name,
                      "general.name of the GGUF file (default: the model's file name)");
  command->add_flag("--no-mtp", options->no_mtp,
                    "Leave MTP modules out: llama.cpp of old refuses GGUF files that have them");
  command->add_flag("--overwrite", options->overwrite, "Replace what is there");
  add_threads_option(*command, options->threads);
  command->callback([options] { convert(*options); });
}

}  // namespace fathom::cli
