#include "train/training_config.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/json_excerpt.h"
#include "base/nearest_name.h"
#include "train/training_plan.h"

namespace fathom {
namespace {

using Config = TrainingConfig;
using Member = std::variant<std::int64_t Config::*, std::optional<std::int64_t> Config::*, double Config::*,
                            std::optional<double> Config::*, Schedule Config::*,
                            std::optional<RunPosition> Config::*, std::optional<DType> Config::*,
                            Balance Config::*, OptimizerKind Config::*, Precision Config::*>;

struct Key {
  std::string_view name;
  Member member;
  double least;
  double most;
  std::string_view meaning;
};

constexpr double kAnyCount = 9e15;  // below 2^53: whole numbers that a double still tells apart
constexpr double kLongestSequence = 1 << 24;

/// The one list of keys: reading, writing, checking and documenting all walk it.
const auto& keys() {
  static const std::vector<Key> list = {
      {"sequence_length", &Config::sequence_length, 2, kLongestSequence, "tokens in a sequence"},
      {"batch_size", &Config::batch_size, 1, kLongestSequence, "sequences in a step"},
      {"initial_batch_size", &Config::initial_batch_size, 0, kLongestSequence,
       "sequences in the first step, from where the batch grows to batch_size; 0: no ramp"},
      {"batch_ramp_until", &Config::batch_ramp_until, 0, 0,
       "where the ramp ends: after so many steps, or a part of the run's tokens as \"3.2%\""},
      {"micro_batch_size", &Config::micro_batch_size, 0, kLongestSequence,
       "sequences in one forward pass, whose activations are in memory together; gradients add up to the "
       "batch; 0: the whole batch"},
      {"steps", &Config::steps, 1, kAnyCount, "steps in the run; the schedule ends there"},
      {"learning_rate", &Config::learning_rate, 0, 1e3,
       "the peak, between warm-up and decay; or a schedule (docs/training.md) in place of the next three"},
      {"final_learning_rate_factor", &Config::final_learning_rate_factor, 0, 1,
       "the last step's learning rate, as a part of the peak; default 0.1"},
      {"warmup_steps", &Config::warmup_steps, 0, kAnyCount,
       "steps of linear rise from zero; default steps / 50, at most 2000"},
      {"decay_steps", &Config::decay_steps, 0, kAnyCount,
       "last steps, over which a cosine falls to the floor; default 3/10 of steps"},
      {"optimizer", &Config::optimizer, 0, 0,
       "adamw, or muon: momentum, orthogonalised, for the matrices of linear maps and experts, and AdamW for "
       "the "
       "rest, by the same learning rate"},
      {"muon_momentum", &Config::muon_momentum, 0, 0.999999, "Muon: decay of the gradient's mean"},
      {"beta1", &Config::beta1, 0, 0.999999, "AdamW: decay of the gradient's mean"},
      {"beta2", &Config::beta2, 0, 0.999999, "AdamW: decay of the squared gradient's mean"},
      {"epsilon", &Config::epsilon, 1e-30, 1, "AdamW: added to the root of the second moment"},
      {"weight_decay", &Config::weight_decay, 0, 1e3,
       "AdamW: pull to zero, times the learning rate; matrices only, not norms or biases"},
      {"gradient_clip", &Config::gradient_clip, 0, 1e30,
       "longest gradient, by the norm over all parameters; 0: not clipped"},
      {"mtp_loss_factor", &Config::mtp_loss_factor, 0, 1e3,
       "lambda: weight of the mean loss of the multi-token-prediction modules; may be a schedule"},
      {"balance", &Config::balance, 0, 0,
       "what evens the experts' loads: bias (auxiliary-loss-free), aux_loss (the classical loss), or none"},
      {"router_bias_update_rate", &Config::router_bias_update_rate, 0, 1e3,
       "gamma: step of each expert's selection bias towards an even load; may be a schedule"},
      {"balance_loss_factor", &Config::balance_loss_factor, 0, 1e3,
       "alpha: weight of the balance loss beside the bias; default the model's aux_loss_alpha, else 0.0001"},
      {"aux_loss_factor", &Config::aux_loss_factor, 0, 1e3,
       "weight of the classical loss of balance = aux_loss, over all tokens of a forward pass"},
      {"ema_decay", &Config::ema_decay, 0, 0.999999,
       "decay a step of an exponential average of the weights, saved beside them; 0: none"},
      {"spike_threshold", &Config::spike_threshold, 0, 1e6,
       "stop when loss or gradient norm stays above the median of the last steps by this many times their "
       "spread; 0: never"},
      {"spike_steps", &Config::spike_steps, 1, 1e6, "steps in a row that make it a spike"},
      {"precision", &Config::precision, 0, 0,
       "f32, bf16, or fp8: the report's E4M3 tiles where it has them; docs/training.md says what is in what"},
      {"seed", &Config::seed, 0, kAnyCount, "of the initial weights and of the order of the data"},
      {"eval_interval", &Config::eval_interval, 0, kAnyCount,
       "steps between measurements of the held-out loss; 0: only at the end"},
      {"eval_tokens", &Config::eval_tokens, 0, kAnyCount,
       "first tokens of the held-out text to measure; 0: all of it"},
      {"needle_length", &Config::needle_length, 0, kLongestSequence,
       "with each measurement, also find facts in made-up texts of up to this many tokens, at most "
       "sequence_length (`fathom needle`); 0: not"},
      {"checkpoint_interval", &Config::checkpoint_interval, 0, kAnyCount,
       "steps between checkpoints; 0: only at the end"},
      {"keep_checkpoints", &Config::keep_checkpoints, 0, kAnyCount,
       "newest checkpoints that stay; 0: all of them"},
      {"checkpoint_dtype", &Config::checkpoint_dtype, 0, 0,
       "weights in model.safetensors: f32, bf16 or f8_e4m3; default as precision; the optimizer's file keeps "
       "f32 always"},
  };
  return list;
}

/// The words that a config has for the values of a choice.
template <typename Choice>
using Words = std::span<const std::pair<std::string_view, Choice>>;

Words<DType> words_of(DType /*kind*/) {
  static constexpr std::pair<std::string_view, DType> kWords[] = {
      {"f32", DType::f32}, {"bf16", DType::bf16}, {"f8_e4m3", DType::f8_e4m3}};
  return kWords;
}

Words<Precision> words_of(Precision /*kind*/) {
  static constexpr std::pair<std::string_view, Precision> kWords[] = {
      {"f32", Precision::f32}, {"bf16", Precision::bf16}, {"fp8", Precision::fp8}};
  return kWords;
}

Words<OptimizerKind> words_of(OptimizerKind /*kind*/) {
  static constexpr std::pair<std::string_view, OptimizerKind> kWords[] = {{"adamw", OptimizerKind::adamw},
                                                                          {"muon", OptimizerKind::muon}};
  return kWords;
}

Words<Balance> words_of(Balance /*kind*/) {
  static constexpr std::pair<std::string_view, Balance> kWords[] = {
      {"bias", Balance::bias}, {"aux_loss", Balance::aux_loss}, {"none", Balance::none}};
  return kWords;
}

/// A whole number; 1e3 and 1000.0 are whole too.
std::optional<std::int64_t> whole_number(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const auto number = value.get<double>();
  if (!(std::abs(number) <= kAnyCount) || number != std::floor(number)) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

/// Reads values into the members of a config.
struct Reader {
  Config& config;
  const Key& key;
  const Json& value;
  std::string_view where;

  void check_range(double number) const {
    require(number >= key.least && number <= key.most, "{}: training.{} is {}, it must be from {} to {}",
            where, key.name, number, key.least, key.most);
  }
  [[nodiscard]] std::int64_t count() const {
    const std::optional<std::int64_t> number = whole_number(value);
    require(number.has_value(), "{}: training.{} must be a whole number, not {}", where, key.name,
            excerpt(value));
    check_range(static_cast<double>(*number));
    return *number;
  }
  void operator()(std::int64_t Config::*member) const { config.*member = count(); }
  void operator()(std::optional<std::int64_t> Config::*member) const {
    if (value.is_null()) {
      (config.*member).reset();
    } else {
      config.*member = count();
    }
  }
  [[nodiscard]] double number() const {
    require(value.is_number(), "{}: training.{} must be a number, not {}", where, key.name, excerpt(value));
    check_range(value.get<double>());
    return value.get<double>();
  }
  void operator()(double Config::*member) const { config.*member = number(); }
  void operator()(std::optional<double> Config::*member) const {
    if (value.is_null()) {
      (config.*member).reset();
    } else {
      config.*member = number();
    }
  }
  void operator()(Schedule Config::*member) const {
    config.*member =
        schedule_from_json(value, key.least, key.most, fmt::format("training.{}", key.name), where);
  }
  void operator()(std::optional<RunPosition> Config::*member) const {
    if (value.is_null()) {
      (config.*member).reset();
    } else {
      config.*member = run_position_from_json(value, fmt::format("training.{}", key.name), where);
    }
  }
  template <typename Choice>
  [[nodiscard]] Choice choice() const {
    std::string known;
    for (const auto& [word, choice] : words_of(Choice{})) {
      if (value == word) return choice;
      known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", word);
    }
    fail("{}: training.{} must be one of {}, not {}", where, key.name, known, excerpt(value));
  }
  template <typename Choice>
  requires std::is_enum_v<Choice>
  void operator()(Choice Config::*member) const { config.*member = choice<Choice>(); }
  void operator()(std::optional<DType> Config::*member) const {
    if (value.is_null()) {
      (config.*member).reset();
    } else {
      config.*member = choice<DType>();
    }
  }
};

struct Writer {
  const Config& config;

  OrderedJson operator()(std::int64_t Config::*member) const { return config.*member; }
  OrderedJson operator()(double Config::*member) const { return config.*member; }
  OrderedJson operator()(Schedule Config::*member) const { return schedule_to_json(config.*member); }
  OrderedJson operator()(std::optional<RunPosition> Config::*member) const {
    return (config.*member).has_value() ? run_position_to_json(*(config.*member)) : OrderedJson(nullptr);
  }
  template <typename Number>
  requires std::is_arithmetic_v<Number> OrderedJson operator()(std::optional<Number> Config::*member) const {
    return (config.*member).has_value() ? OrderedJson(*(config.*member)) : OrderedJson(nullptr);
  }
  template <typename Choice>
  requires std::is_enum_v<Choice> OrderedJson operator()(Choice Config::*member) const {
    return word_of(config.*member);
  }
  OrderedJson operator()(std::optional<DType> Config::*member) const {
    return (config.*member).has_value() ? word_of(*(config.*member)) : OrderedJson(nullptr);
  }

 private:
  template <typename Choice>
  static OrderedJson word_of(Choice value) {
    for (const auto& [word, choice] : words_of(Choice{}))
      if (choice == value) return word;
    fail("a training config holds a choice that has no word");
  }
};

/// What is no JSON is a word: "bf16" for "\"bf16\"".
Json value_or_word(std::string_view text) {
  try {
    return parse_json(text, "");
  } catch (const Error&) {
    return std::string(text);
  }
}

}  // namespace

DType TrainingConfig::stored_dtype() const {
  if (checkpoint_dtype) return *checkpoint_dtype;
  switch (precision) {
    case Precision::f32:
      break;
    case Precision::bf16:
      return DType::bf16;
    case Precision::fp8:
      return DType::f8_e4m3;
  }
  return DType::f32;
}

double balance_factor(const TrainingConfig& training, const ModelConfig& model) {
  constexpr double kReportsAlpha = 0.0001;
  switch (training.balance) {
    case Balance::bias:
      return training.balance_loss_factor.value_or(model.aux_loss_alpha.value_or(kReportsAlpha));
    case Balance::aux_loss:
      return training.aux_loss_factor;
    case Balance::none:
      break;
  }
  return 0.0;
}

TrainingConfig training_config_from_json(const Json& config, std::string_view where) {
  TrainingConfig training;
  if (config.contains("training")) {
    const Json& section = config.at("training");
    require(section.is_object(), "{}: \"training\" must be an object", where);
    for (const auto& [name, value] : section.items()) {
      const auto key =
          std::find_if(keys().begin(), keys().end(), [&name = name](const Key& k) { return k.name == name; });
      if (key == keys().end()) {
        std::vector<std::string_view> names;
        for (const Key& known : keys()) names.push_back(known.name);
        const std::string_view nearest = nearest_name(name, names);
        fail("{}: unknown key training.{}{}", where, printable(name),
             nearest.empty() ? std::string(": `fathom train --help` lists the keys")
                             : fmt::format(": did you mean training.{}?", nearest));
      }
      std::visit(Reader{training, *key, value, where}, key->member);
    }
  }
  require(training.needle_length <= training.sequence_length,
          "{}: training.needle_length ({}) exceeds training.sequence_length ({}): `fathom needle` tries a "
          "trained model at other lengths",
          where, training.needle_length, training.sequence_length);
  static_cast<void>(TrainingPlan(training, where));  // throws when values are at odds
  return training;
}

OrderedJson training_config_to_json(const TrainingConfig& config) {
  OrderedJson json;
  for (const Key& key : keys()) json[std::string(key.name)] = std::visit(Writer{config}, key.member);
  return json;
}

void apply_override(Json& config, std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0)
    throw UsageError(fmt::format("\"{}\" is no assignment: write --set KEY=VALUE", printable(assignment)));
  std::string key(assignment.substr(0, equals));
  Json value = value_or_word(assignment.substr(equals + 1));

  Json* object = &config;
  constexpr std::string_view kSection = "training.";
  if (key.starts_with(kSection)) {
    object = &config["training"];
    key.erase(0, kSection.size());
    if (!object->is_object() && !object->is_null())
      throw UsageError(fmt::format("cannot set {}: \"training\" is not an object", printable(assignment)));
  }
  (*object)[key] = std::move(value);
}

std::string describe_training_keys() {
  const OrderedJson defaults = training_config_to_json(TrainingConfig{});
  std::string text;
  for (const Key& key : keys()) {
    const OrderedJson& value = defaults.at(std::string(key.name));
    text += fmt::format("  {:<28}{:<10}{}\n", key.name, value.is_null() ? "" : value.dump(), key.meaning);
  }
  return text;
}

}  // namespace fathom
