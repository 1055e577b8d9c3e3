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
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "infer/text_model.h"
#include "io/gguf.h"
#include "model/adapters.h"
#include "model/gguf_load.h"
#include "model/gguf_save.h"
#include "model/gguf_tokenizer.h"
#include "model/packed_model.h"
#include "model/save.h"
#include "text/tokenizer_spec.h"
#include "text/tokenizer_writer.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  std::string model;
  std::vector<std::string> lora;
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
  bool expert_pack = false;
  CLI::Option* type_given = nullptr;
};

struct Source {
  LoadedModel model;
  std::optional<TokenizerSpec> tokenizer;
  std::unique_ptr<const GgufFile> gguf = nullptr;  // that it comes from, if from one
};

Source load_source(const fs::path& named) {
  if (is_gguf_path(named)) {
    auto file = std::make_unique<const GgufFile>(named);
    Source source{load_gguf_model(*file), {}};
    if (file->metadata().contains("tokenizer.ggml.tokens")) source.tokenizer = gguf_tokenizer_spec(*file);
    source.gguf = std::move(file);
    return source;
  }
  const fs::path folder = find_model_folder(named);
  Source source{load_model(folder), {}};
  if (fs::exists(folder / "tokenizer.json")) source.tokenizer = read_tokenizer_spec(folder);
  return source;
}

DType type_to_write(const std::string& name) {
  const auto lower = [](unsigned char c) { return static_cast<char>(std::tolower(c)); };
  if (std::ranges::equal(name, std::string_view("fp8"), {}, lower)) return DType::f8_e4m3;
  const auto type = dtype_from_text(name);
  if (type && (has_encoder(*type) || !is_block_quantized(*type))) return *type;
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
  save.dtype = type_to_write(options.type);
  save.split_kv_b = options.kv_b == "split";
  save.max_part_bytes = options.part_bytes;
  save.name = options.name.empty() ? fs::path(options.model).stem().string() : options.name;
  save.progress = [&](std::uint64_t written, std::uint64_t of) {
    total = of;
    progress.update(static_cast<double>(written) / static_cast<double>(of),
                    fmt::format("{} of {}", format_bytes(written), format_bytes(of)));
  };
  const TokenizerSpec* tokenizer = source.tokenizer ? &*source.tokenizer : nullptr;
  const bool is_as_stored = options.type_given->count() == 0;
  if (options.expert_pack) {
    const bool is_copied = source.gguf != nullptr && is_as_stored;
    const auto paths =
        is_copied ? repack_model(pool, options.output, *source.gguf, source.model, save.max_part_bytes,
                                 save.progress)
                  : save_packed_model(pool, options.output, source.model, tokenizer, save, is_as_stored);
    return progress.finish(
        fmt::format("{} and its experts in {}", paths.front().string(), paths.back().string()));
  }
  const auto paths =
      save_gguf(pool, options.output, source.model.config, source.model.weights, tokenizer, save);
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
  save.dtype = type_to_write(options.type);
  save.fp8_scales = options.scales == "ue8m0" ? ScaleFormat::power_of_two : ScaleFormat::f32;
  if (options.part_given->count() > 0) save.max_shard_bytes = options.part_bytes;
  if (source.tokenizer) write_tokenizer(without_unused_tokens(*source.tokenizer), options.output);
  save_model(options.output, source.model.config, source.model.weights, save);
  progress.finish(options.output);
}

/// Options that go together.
void check_options(const ConvertOptions& options) {
  if (!options.expert_pack) return;
  if (!is_gguf_path(options.output)) throw UsageError("--expert-pack: the output's name has to end in .gguf");
  // A GGUF file's tensors are copied as they are; leaving some out, or naming it, means writing it anew.
  const bool changes_file = options.no_mtp || !options.name.empty();
  if (is_gguf_path(options.model) && options.type_given->count() == 0 && changes_file)
    throw UsageError("--no-mtp and --name with --expert-pack of a .gguf file need --type, too");
}

/// Weights are mapped from the source while the target is written.
void require_other_place(const ConvertOptions& options) {
  std::error_code ignored;
  if (!fs::exists(options.output, ignored)) return;
  require(!fs::equivalent(options.model, options.output, ignored),
          "{}: is the model itself; write to another place", options.output);
  require(options.overwrite, "{}: exists; remove it, or say --overwrite", options.output);
}

/// Nor is a pack written over by accident, or while it is read.
void require_other_pack(const ConvertOptions& options, const Source& source) {
  const fs::path pack = expert_pack_path(options.output);
  std::error_code ignored;
  if (!options.expert_pack || !fs::exists(pack, ignored)) return;
  require(
      source.model.expert_pack == nullptr || !fs::equivalent(source.model.expert_pack->path(), pack, ignored),
      "{}: holds the model's experts; write to another place", pack.string());
  require(options.overwrite, "{}: exists; remove it, or say --overwrite", pack.string());
}

void convert(const ConvertOptions& options) {
  (void)type_to_write(options.type);
  check_options(options);
  require_other_place(options);
  Source source = load_source(options.model);
  require_other_pack(options, source);
  if (options.no_mtp) {
    source.model.config.num_nextn_predict_layers = 0;
    source.model.weights.mtp.clear();
  }
  if (!options.lora.empty()) {
    ThreadPool pool(options.threads);
    add_named_adapters(source.model.config, source.model.weights, options.lora);
    merge_adapters(pool, source.model.config, source.model.weights);
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
  options->type_given = command->add_option(
      "--type", options->type,
      "Type of matrices: f32, f16, bf16; in GGUF also q8_0, q6_k, q4_k and so on, without calibration; "
      "in safetensors also fp8 (default: bf16; with --expert-pack as they are stored)");
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
  command->add_flag(
      "--expert-pack", options->expert_pack,
      "Put the routed experts into a file beside the .gguf file, from which they are read when they "
      "are used: for models larger than memory");
  command->add_flag("--overwrite", options->overwrite, "Replace what is there");
  add_lora_option(*command, options->lora);
  add_threads_option(*command, options->threads);
  command->callback([options] { convert(*options); });
}

}  // namespace fathom::cli
