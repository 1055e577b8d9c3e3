#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "infer/expert_memory.h"
#include "infer/page_warmer.h"
#include "model/load.h"
#include "text/tokenizer.h"

namespace fathom {

/// A model and its tokenizer, from one folder.
struct TextModel {
  std::filesystem::path folder;  // where the weights lie, after `latest` has been followed
  ModelConfig config;
  TransformerWeights weights;
  Tokenizer tokenizer;
  PageWarmer warmer{};
  std::shared_ptr<ExpertCache> expert_cache =
      nullptr;  // that experts are read through; null: they are mapped

  /// Tokens that end an answer: the config's, and the tokenizer's own.
  [[nodiscard]] std::vector<std::int64_t> end_of_text() const;
};

/// `named`, or its newest checkpoint where it is the folder of a training run: one with `latest` in it and no
/// weights beside that (a run has a config.json of its own).
std::filesystem::path follow_run(const std::filesystem::path& named);

/// The folder with config.json and weights that `named` means: itself, or, for the folder of a training run,
/// its newest checkpoint. Throws `Error` when it is neither.
std::filesystem::path find_model_folder(const std::filesystem::path& named);

/// Maps the weights (see `load_model`) and reads the tokenizer. Throws `Error` naming the file that is
/// missing or wrong.
/// @param memory      how the experts of a packed model are held; asking for something with another throws
/// `UsageError`
/// @param adapters    LoRA adapters to add, as `add_named_adapters` takes them
/// @param huge_pages  whether weights are copied into huge pages meanwhile, where memory is ample
TextModel load_text_model(const std::filesystem::path& named, const ExpertMemory& memory = {},
                          std::span<const std::string> adapters = {}, bool huge_pages = false);

/// Adds adapters, each the folder that PEFT saved it to, with the scale of what it adds behind it: "FOLDER"
/// or "FOLDER=0.5". Throws `UsageError` for a scale that is no number; see `read_adapter` and `add_adapter`.
void add_named_adapters(const ModelConfig& config, TransformerWeights& weights,
                        std::span<const std::string> named);

/// Calls `use`; when it ends in `NonFiniteLogits` and a weight is to blame, throws an `Error` that names the
/// folder and the weight instead.
void blame_non_finite_weights(const TextModel& model, const std::function<void()>& use);

}  // namespace fathom
