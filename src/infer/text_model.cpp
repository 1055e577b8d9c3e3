#include "infer/text_model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "infer/named_tokenizer.h"
#include "infer/sampler.h"
#include "io/checkpoint_folder.h"
#include "io/gguf.h"
#include "model/adapters.h"
#include "model/gguf_load.h"
#include "model/gguf_tokenizer.h"

namespace fathom {

namespace fs = std::filesystem;

std::vector<std::int64_t> TextModel::end_of_text() const {
  std::vector<std::int64_t> ids = config.eos_token_ids;
  if (const auto own = tokenizer.eos(); own && std::ranges::find(ids, *own) == ids.end()) ids.push_back(*own);
  return ids;
}

fs::path follow_run(const fs::path& named) {
  std::error_code ignored;
  const bool has_weights =
      fs::exists(named / kSingleFileName, ignored) || fs::exists(named / kIndexFileName, ignored);
  fs::path newest = named / "latest";
  return !has_weights && fs::exists(newest / "config.json", ignored) ? newest : named;
}

fs::path find_model_folder(const fs::path& named) {
  std::error_code ignored;
  require(fs::exists(named, ignored),
          "{}: no such folder; give a folder with config.json, tokenizer.json and "
          "safetensors, or a .gguf file",
          named.string());
  require(fs::is_directory(named, ignored), "{}: not a folder; give the folder that holds the model",
          named.string());
  fs::path folder = follow_run(named);
  require(
      fs::exists(folder / "config.json", ignored),
      "{}: holds no config.json, and no checkpoint of a training run; give the folder that holds the model",
      named.string());
  return folder;
}

Tokenizer load_named_tokenizer(const fs::path& named) {
  if (is_gguf_path(named)) return Tokenizer(gguf_tokenizer_spec(GgufFile(named)));
  return Tokenizer::load(follow_run(named));
}

void add_named_adapters(const ModelConfig& config, TransformerWeights& weights,
                        std::span<const std::string> named) {
  for (const std::string& text : named) {
    std::string_view path = text;
    double scale = 1.0;
    std::error_code ignored;
    const std::size_t sign = text.rfind('=');
    if (sign != std::string::npos && !fs::exists(text, ignored)) {
      path = path.substr(0, sign);
      const std::string_view number = std::string_view(text).substr(sign + 1);
      const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), scale);
      if (error != std::errc() || end != number.data() + number.size() || !std::isfinite(scale))
        throw UsageError(fmt::format("--lora {}: the scale is no number", printable(text)));
    }
    add_adapter(config, weights, read_adapter(path, config), scale);
  }
}

TextModel load_text_model(const fs::path& named, const ExpertMemory& memory,
                          std::span<const std::string> adapters, bool huge_pages) {
  if (!adapters.empty()) {
    TextModel model = load_text_model(named, memory, {}, huge_pages);
    add_named_adapters(model.config, model.weights, adapters);
    return model;
  }
  if (is_gguf_path(named)) {
    const GgufFile file(named);
    Tokenizer tokenizer{gguf_tokenizer_spec(file)};
    LoadedModel model = load_gguf_model(file);
    auto cache = hold_experts(model.expert_pack, model.config, model.weights, memory);
    PageWarmer warmer(model.config, model.weights,
                      {.experts = cache == nullptr && !memory.is_mapped,
                       .copies = huge_pages,
                       .reserved_bytes = memory.reserved_bytes});
    return {named,
            std::move(model.config),
            std::move(model.weights),
            std::move(tokenizer),
            std::move(warmer),
            std::move(cache)};
  }
  fs::path folder = find_model_folder(named);
  Tokenizer tokenizer = Tokenizer::load(folder);  // first: a fault here shows before large files are opened
  LoadedModel model = load_model(folder);
  (void)hold_experts(model.expert_pack, model.config, model.weights, memory);
  PageWarmer warmer(model.config, model.weights,
                    {.copies = huge_pages, .reserved_bytes = memory.reserved_bytes});
  return {std::move(folder), std::move(model.config), std::move(model.weights), std::move(tokenizer),
          std::move(warmer)};
}

void blame_non_finite_weights(const TextModel& model, const std::function<void()>& use) {
  try {
    use();
  } catch (const NonFiniteLogits&) {
    if (const auto weight = find_non_finite(model.config, model.weights))
      fail("{}: the model's answer is not a number: {}", model.folder.string(), *weight);
    throw;
  }
}

}  // namespace fathom
