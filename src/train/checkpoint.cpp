#include "train/checkpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "model/load.h"
#include "model/save.h"
#include "numerics/convert.h"
#include "tensor/block_scaled.h"
#include "train/prepare.h"
#include "train/training_plan.h"

namespace fathom {
namespace {

constexpr std::string_view kFormat = "fathom-training-state";
constexpr std::int64_t kStateVersion = 1;
constexpr std::string_view kFirst = "first_moment.";
constexpr std::string_view kSecond = "second_moment.";
constexpr std::string_view kMaster = "master.";
constexpr std::string_view kAverage = "average.";

std::filesystem::path optimizer_file(const std::filesystem::path& checkpoint) {
  return checkpoint / "optimizer.safetensors";
}

std::filesystem::path average_folder(const std::filesystem::path& checkpoint) {
  return checkpoint / "average";
}

/// `visit_parameters` wants weights that it may size; here they are sized already and only looked at.
void visit_constant(const ModelConfig& config, const TransformerWeights& weights,
                    const std::function<void(const ParameterSpec&, const Tensor&)>& visit) {
  TransformerWeights shared = weights;  // shares the tensors' storage
  visit_parameters(config, shared, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    if (value.defined()) visit(spec, value);
  });
}

void write_optimizer(const std::filesystem::path& file, const ModelConfig& config,
                     const std::vector<NamedWeights>& groups) {
  std::vector<StoredTensor> tensors;
  for (const NamedWeights& group : groups)
    visit_constant(config, group.weights, [&](const ParameterSpec& spec, const Tensor& value) {
      tensors.push_back({fmt::format("{}{}", group.prefix, spec.name), spec.shape, value.dtype()});
    });
  SafetensorsWriter writer(file, tensors);
  for (const NamedWeights& group : groups)
    visit_constant(config, group.weights, [&](const ParameterSpec& spec, const Tensor& value) {
      writer.write(fmt::format("{}{}", group.prefix, spec.name), value);
    });
  writer.commit();
}

/// The weights of a run and of its optimizer, in one order.
void visit_trained(const ModelConfig& config, TrainedTensors& trained,
                   const std::function<void(Tensor& value)>& visit) {
  const auto each = [&](const ParameterSpec&, Tensor& value, Tensor*) {
    if (value.defined()) visit(value);
  };
  visit_parameters(config, trained.weights, each);
  for (NamedWeights& group : trained.optimizer) visit_parameters(config, group.weights, each);
  if (trained.average) visit_parameters(config, *trained.average, each);
}

using RowsOf = std::function<ParameterShards::Rows(const ParameterSpec&)>;

/// Reads those rows of each parameter that is defined. Moments of a run whose precision has changed since are
/// converted.
void read_group(const SafetensorsFile& file, std::string_view prefix, const ModelConfig& config,
                const RowsOf& rows_of, TransformerWeights& weights) {
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    if (!value.defined()) return;
    const std::string name = fmt::format("{}{}", prefix, spec.name);
    const Tensor whole = file.get(name);
    require(is_plain_float(whole.dtype()) && whole.shape() == spec.shape,
            "{}: tensor {} is {} {}, config.json needs {} {}", file.path().string(), name,
            dtype_name(whole.dtype()), shape_text(whole.shape()), dtype_name(value.dtype()),
            shape_text(spec.shape));
    const ParameterShards::Rows rows = rows_of(spec);
    const Tensor stored = whole.rows(rows.begin, rows.end);
    if (stored.dtype() == value.dtype()) {
      std::memcpy(value.data(), stored.data(), value.byte_size());
    } else {
      narrow_from_f32(to_f32(stored).f32(), value.size(), value.dtype(), value.data());
    }
  });
}

void read_whole_group(const SafetensorsFile& file, std::string_view prefix, const ModelConfig& config,
                      TransformerWeights& weights) {
  read_group(
      file, prefix, config,
      [](const ParameterSpec& spec) {
        return ParameterShards::Rows{0, spec.shape.front()};
      },
      weights);
}

/// The model's weights, from the optimizer's file where that has them wider than the model's.
TransformerWeights master_weights(const std::filesystem::path& checkpoint, LoadedModel model) {
  if (!std::filesystem::exists(optimizer_file(checkpoint))) return std::move(model.weights);
  const SafetensorsFile file(optimizer_file(checkpoint));
  if (file.contains(fmt::format("{}{}", kMaster, "model.norm.weight")))
    read_whole_group(file, kMaster, model.config, model.weights);
  return std::move(model.weights);
}

std::string rope_scaling_text(const ModelConfig& config) {
  return model_config_to_json(config).at("rope_scaling").dump();
}

void write_state(const std::filesystem::path& file, const TrainingState& state,
                 const TrainingConfig& training) {
  OrderedJson json;
  json["format"] = kFormat;
  json["version"] = kStateVersion;
  json["step"] = state.step;
  json["tokens"] = state.tokens;
  json["data"] = {{"folder", state.data.string()},
                  {"tokenizer_checksum", fmt::format("{:016x}", state.tokenizer_hash)},
                  {"train_tokens", state.train_tokens},
                  {"sequence_length", state.sequence_length},
                  {"seed", state.seed},
                  {"position", state.sequences}};
  if (state.order_checksum) json["data"]["order_checksum"] = fmt::format("{:016x}", *state.order_checksum);
  json["optimizer"] = state.optimizer;
  json["learning_rate"] = TrainingPlan(training, "config").at(state.step).learning_rate;
  // A folder's name that is no UTF-8 must not cost the checkpoint; --resume then asks for --data.
  write_file_atomically(file, json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

std::uint64_t hexadecimal(const Json& object, const std::string& key, const std::string& where) {
  const auto digits = object.at(key).get<std::string>();
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  require(error == std::errc() && end == digits.data() + digits.size(),
          "{}: \"{}\" must be a hexadecimal number", where, key);
  return value;
}

}  // namespace

TrainedTensors trained_tensors(const TransformerWeights& weights, const Moments& moments,
                               std::optional<TransformerWeights> average) {
  return {.weights = weights,
          .optimizer = {{std::string(kFirst), moments.first}, {std::string(kSecond), moments.second}},
          .average = std::move(average)};
}

std::vector<Tensor> list_tensors(const ModelConfig& config, TrainedTensors trained) {
  std::vector<Tensor> list;
  visit_trained(config, trained, [&](const Tensor& value) { list.push_back(value); });
  return list;
}

void replace_tensors(const ModelConfig& config, TrainedTensors& trained, const std::vector<Tensor>& tensors) {
  auto next = tensors.begin();
  visit_trained(config, trained, [&](Tensor& value) { value = *next++; });
}

std::filesystem::path save_checkpoint(const RunFolder& run, const ModelConfig& config,
                                      const TrainingConfig& training, const TrainedTensors& trained,
                                      const TrainingState& state) {
  const std::filesystem::path folder = run.begin_checkpoint(state.step);
  try {
    save_model(folder, config, trained.weights, {.dtype = training.stored_dtype()});
    std::vector<NamedWeights> groups = trained.optimizer;
    if (training.stored_dtype() != DType::f32) {
      groups.push_back({std::string(kMaster), trained.weights});
      if (trained.average) groups.push_back({std::string(kAverage), *trained.average});
    }
    write_optimizer(optimizer_file(folder), config, groups);
    install_tokenizer(state.data, folder);
    if (trained.average) {
      const std::filesystem::path average = average_folder(folder);
      create_folders(average);
      save_model(average, config, *trained.average, {.dtype = training.stored_dtype()});
      install_tokenizer(state.data, average);
      sync_folder(average);
    }
    write_state(folder / "state.json", state, training);
  } catch (...) {
    run.abandon_checkpoint(state.step);
    throw;
  }
  run.publish_checkpoint(state.step, training.keep_checkpoints);
  return run.checkpoint(state.step);
}

TrainingState load_training_state(const std::filesystem::path& checkpoint) {
  const std::filesystem::path file = checkpoint / "state.json";
  const std::string where = file.string();
  const Json json = read_json_file(file);
  TrainingState state;
  try {
    require(json.at("format") == kFormat && json.at("version") == kStateVersion,
            "{}: not a training state of version {}", where, kStateVersion);
    state.step = json.at("step").get<std::int64_t>();
    state.tokens = json.at("tokens").get<std::int64_t>();
    state.optimizer = json.value("optimizer", state.optimizer);
    const Json& data = json.at("data");
    state.data = data.at("folder").get<std::string>();
    state.train_tokens = data.at("train_tokens").get<std::int64_t>();
    state.sequence_length = data.at("sequence_length").get<std::int64_t>();
    state.seed = data.at("seed").get<std::int64_t>();
    state.sequences = data.at("position").get<std::int64_t>();
    state.tokenizer_hash = hexadecimal(data, "tokenizer_checksum", where);
    if (data.contains("order_checksum")) state.order_checksum = hexadecimal(data, "order_checksum", where);
  } catch (const Json::exception& error) {
    fail("{}: not a training state: {}", where, error.what());
  }
  require(state.step >= 0 && state.tokens >= 0 && state.sequences >= 0, "{}: a count is negative", where);
  return state;
}

TransformerWeights load_training_weights(const std::filesystem::path& checkpoint, const ModelConfig& config,
                                         const RowsKept& kept) {
  LoadedModel model = load_model_f32(checkpoint, nullptr, kept);
  require_same_model(config, model.config, (checkpoint / "config.json").string());
  return master_weights(checkpoint, std::move(model));
}

TransformerWeights load_initial_weights(const std::filesystem::path& folder, const ModelConfig& config,
                                        const RowsKept& kept) {
  LoadedModel model = load_model_f32(folder, nullptr, kept);
  const std::string before = rope_scaling_text(model.config);
  const std::string after = rope_scaling_text(config);
  if (before != after)
    log_info("{}: rope_scaling was {} and is {} from here on", folder.string(), before, after);
  model.config.rope_scaling = config.rope_scaling;
  require_same_model(config, model.config, (folder / "config.json").string());
  return master_weights(folder, std::move(model));
}

std::optional<TransformerWeights> load_average(const std::filesystem::path& checkpoint,
                                               const ModelConfig& config, const RowsKept& kept) {
  const std::filesystem::path folder = average_folder(checkpoint);
  if (!std::filesystem::exists(folder)) return std::nullopt;
  LoadedModel model = load_model_f32(folder, nullptr, kept);
  require_same_model(config, model.config, (folder / "config.json").string());
  const SafetensorsFile file(optimizer_file(checkpoint));
  if (file.contains(fmt::format("{}{}", kAverage, "model.norm.weight")))
    read_whole_group(file, kAverage, config, model.weights);
  return std::move(model.weights);
}

void load_moments(const std::filesystem::path& checkpoint, const ModelConfig& config, Optimizer& optimizer) {
  const SafetensorsFile file(optimizer_file(checkpoint));
  const auto rows_of = [&](const ParameterSpec& spec) {
    return optimizer.shards().rows(spec, optimizer.rank());
  };
  read_group(file, kFirst, config, rows_of, optimizer.first_moments());
  read_group(file, kSecond, config, rows_of, optimizer.second_moments());
}

void require_same_model(const ModelConfig& wanted, const ModelConfig& other, const std::string& where) {
  // What does not change the parameters or the function that they define.
  static const std::vector<std::string_view> kFree = {"initializer_range",
                                                      "max_position_embeddings",
                                                      "bos_token_id",
                                                      "eos_token_id",
                                                      "aux_loss_alpha",
                                                      "seq_aux",
                                                      "quantization_config",
                                                      "torch_dtype",
                                                      "dtype",
                                                      "architectures",
                                                      "transformers_version"};
  const OrderedJson a = model_config_to_json(wanted);
  const OrderedJson b = model_config_to_json(other);
  for (const auto& [key, value] : a.items()) {
    if (std::find(kFree.begin(), kFree.end(), key) != kFree.end()) continue;
    require(b.contains(key) && b.at(key) == value, "{}: {} is {}, the config to train has {}", where, key,
            b.contains(key) ? b.at(key).dump() : "absent", value.dump());
  }
}

}  // namespace fathom
