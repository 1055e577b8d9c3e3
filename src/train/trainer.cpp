#include "train/trainer.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "model/balance.h"
#include "model/transformer.h"
#include "text/tokenizer.h"
#include "train/batch_loader.h"
#include "train/checkpoint.h"
#include "train/data_manifest.h"
#include "train/evaluation.h"
#include "train/optimizer.h"
#include "train/report.h"
#include "train/run_folder.h"
#include "train/token_dataset.h"

namespace fathom {
namespace {

/// The model's config with what the data decides: which tokens begin and end a text.
ModelConfig with_data(ModelConfig config, const DataManifest& manifest) {
  require(manifest.vocab_size <= config.vocab_size,
          "the data has a vocabulary of {} tokens, the config's vocab_size is {}: raise it to at least {}",
          manifest.vocab_size, config.vocab_size, manifest.vocab_size);
  if (config.bos_token_id < 0) config.bos_token_id = manifest.bos_token_id;
  if (config.eos_token_ids.empty() && manifest.eos_token_id >= 0)
    config.eos_token_ids = {manifest.eos_token_id};
  return config;
}

TransformerWeights initial_weights(const TrainOptions& options, const ModelConfig& config) {
  if (!options.init) return random_weights(config, static_cast<std::uint64_t>(options.training.seed));
  return load_training_weights(*options.init, config);
}

/// Names and selection biases of the MoE layers, in the order of `Losses::expert_load`.
struct MoeLayers {
  std::vector<std::string> names;
  std::vector<Tensor> biases;  // undefined where routing has none

  MoeLayers(const ModelConfig& config, TransformerWeights& weights) {
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i)
      if (config.is_moe_layer(i))
        add(fmt::format("layer {}", i), weights.layers[static_cast<std::size_t>(i)].moe);
    for (std::size_t k = 0; k < weights.mtp.size(); ++k)
      if (config.is_moe_layer(config.num_hidden_layers + static_cast<std::int64_t>(k)))
        add(fmt::format("MTP {}", k + 1), weights.mtp[k].block.moe);
  }

 private:
  void add(std::string name, MoeWeights& moe) {
    names.push_back(std::move(name));
    biases.push_back(moe.e_score_correction_bias);
  }
};

Report::Facts facts(const ModelConfig& config, const TrainingConfig& training, const DataManifest& manifest) {
  const ParameterCounts counts = count_parameters(config);
  const auto number = [](std::int64_t value) { return format_count(static_cast<std::uint64_t>(value)); };
  Report::Facts list = {
      {"Parameters", number(counts.total)},
      {"Activated per token", number(counts.activated)},
      {"Layers", number(config.num_hidden_layers)},
      {"Hidden size", number(config.hidden_size)},
      {"Experts", config.n_routed_experts == 0
                      ? std::string("none")
                      : fmt::format("{} routed, {} chosen, {} shared", config.n_routed_experts,
                                    config.num_experts_per_tok, config.n_shared_experts)},
      {"Vocabulary", number(config.vocab_size)},
      {"Training text",
       fmt::format("{}, {} tokens", format_bytes(static_cast<std::uint64_t>(manifest.train.bytes)),
                   number(manifest.train.tokens))},
      {"Held-out text",
       fmt::format("{}, {} tokens", format_bytes(static_cast<std::uint64_t>(manifest.held_out.bytes)),
                   number(manifest.held_out.tokens))},
      {"Batch", fmt::format("{} sequences of {} tokens", training.batch_size, training.sequence_length)},
      {"Seed", number(training.seed)}};
  if (counts.mtp_module > 0) list.insert(list.begin() + 2, {"MTP module", number(counts.mtp_module)});
  return list;
}

std::string file_of_run(const ModelConfig& config, const TrainingConfig& training) {
  OrderedJson json = model_config_to_json(config);
  json["training"] = training_config_to_json(training);
  return json.dump(2) + "\n";
}

/// The folder's own name, however its path is written ("runs/a/", ".").
std::string name_of(const std::filesystem::path& folder) {
  const std::filesystem::path whole = std::filesystem::absolute(folder).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

/// Says which training values differ from those the run was started with.
void warn_of_changes(const std::filesystem::path& file, const TrainingConfig& training) {
  if (!std::filesystem::exists(file)) return;
  const Json before = read_json_file(file);
  if (!before.contains("training")) return;
  const OrderedJson now = training_config_to_json(training);
  for (const auto& [key, value] : now.items()) {
    const Json old = before.at("training").value(key, Json());
    if (old != Json::parse(value.dump()))
      log_warning("training.{} was {} and is {} from here on", key, old.dump(), value.dump());
  }
}

/// One run: what it owns, and its loop.
class Run {
 public:
  Run(const TrainOptions& options, ThreadPool& pool)
      : options_(options),
        training_(options.training),
        context_{pool},
        manifest_(load_data_manifest(options.data)),
        config_(with_data(options.model, manifest_)),
        folder_(options.output),
        resumed_(find_checkpoint()),
        weights_(resumed_ ? load_training_weights(folder_.checkpoint(*resumed_), config_)
                          : initial_weights(options, config_)),
        layers_(config_, weights_),
        optimizer_(config_, weights_),
        model_(config_, weights_, training_.sequence_length),
        train_data_(options.data, manifest_, "train", pool),
        held_out_data_(options.data, manifest_, "held_out", pool),
        loader_(train_data_, training_.sequence_length, static_cast<std::uint64_t>(training_.seed)),
        evaluation_(held_out_data_, Tokenizer::load(options.data), training_.sequence_length,
                    training_.micro_batch(), training_.eval_tokens),
        report_(name_of(folder_.path()), facts(config_, training_, manifest_), layers_.names,
                training_.steps) {
    state_ = restored_state();
    saved_step_ = state_.step;
    write_file_atomically(folder_.config_file(), file_of_run(config_, training_));
  }

  TrainResult run() {
    MetricsLog log(folder_.metrics_file(), state_.step);
    read_metrics(
        folder_.metrics_file(), [&](const StepMetrics& metrics) { report_.add(metrics); },
        [&](const EvalMetrics& metrics) {
          report_.add(metrics);
          last_eval_ = metrics;
        });
    announce();
    const std::int64_t end = std::min(training_.steps, options_.stop_at.value_or(training_.steps));
    while (state_.step < end && !stopped()) {
      const StepMetrics metrics = one_step();
      log.append(metrics);
      report_.add(metrics);
      show(metrics);
      if (is_due(training_.eval_interval) && evaluation_.targets() > 0) evaluate(log);
      if (is_due(training_.checkpoint_interval)) save();
    }
    if (saved_step_ != state_.step) save();
    return finish();
  }

 private:
  [[nodiscard]] bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  [[nodiscard]] bool is_due(std::int64_t interval) const {
    return state_.step == training_.steps || (interval > 0 && state_.step % interval == 0);
  }

  [[nodiscard]] std::optional<std::int64_t> find_checkpoint() const {
    const std::optional<std::int64_t> newest = folder_.newest_checkpoint();
    require(options_.resume || (!newest && !std::filesystem::exists(folder_.metrics_file())),
            "{} already holds a run at step {}: add --resume to continue, or choose another --output",
            folder_.path().string(), newest.value_or(0));
    return newest;
  }

  /// The state to begin with: of the checkpoint, checked against config and data, or of step 0.
  TrainingState restored_state() {
    TrainingState fresh;
    fresh.seed = training_.seed;
    fresh.sequence_length = training_.sequence_length;
    fresh.tokenizer_hash = manifest_.tokenizer_hash;
    fresh.train_tokens = manifest_.train.tokens;
    fresh.data = std::filesystem::absolute(options_.data);
    if (!resumed_) return fresh;

    const std::filesystem::path checkpoint = folder_.checkpoint(*resumed_);
    const TrainingState saved = load_training_state(checkpoint);
    const std::string where = (checkpoint / "state.json").string();
    require(saved.step == *resumed_, "{}: it is of step {}, not of its folder's", where, saved.step);
    require(saved.tokenizer_hash == fresh.tokenizer_hash && saved.train_tokens == fresh.train_tokens,
            "{}: the run was trained on other data ({}) than {}: resume with the same data", where,
            saved.data.string(), options_.data.string());
    require(
        saved.sequence_length == fresh.sequence_length && saved.seed == fresh.seed,
        "{}: the run has training.sequence_length {} and training.seed {}, which fix its place in the data: "
        "they cannot change",
        where, saved.sequence_length, saved.seed);
    load_moments(checkpoint, config_, optimizer_);
    warn_of_changes(folder_.config_file(), training_);
    fresh.step = saved.step;
    fresh.sequences = saved.sequences;
    fresh.tokens = saved.tokens;
    return fresh;
  }

  /// Forward and backward over the batch, one micro-batch at a time; losses are means over the whole batch.
  Losses accumulate_gradients() {
    const std::int64_t micro = training_.micro_batch();
    const auto part = static_cast<double>(micro) / static_cast<double>(training_.batch_size);
    const LossFactors factors = training_.loss_factors();
    Losses sum;
    for (std::int64_t done = 0; done < training_.batch_size; done += micro) {
      const Batch batch = loader_.batch(state_.sequences + done, micro);
      Transformer::Saved saved;
      const Losses losses = model_.forward(context_, batch, factors, &saved);
      sum.main += part * losses.main;
      sum.mtp.resize(losses.mtp.size());
      for (std::size_t k = 0; k < losses.mtp.size(); ++k) sum.mtp[k] += part * losses.mtp[k];
      sum.balance += part * losses.balance;
      sum.targets += losses.targets;
      add_load(sum.expert_load, losses.expert_load);
      if (!std::isfinite(losses.total(factors))) return sum;
      model_.backward(context_, batch, factors, part, saved, optimizer_.gradients());
    }
    return sum;
  }

  StepMetrics one_step() {
    const double begin = monotonic_seconds();
    const Losses losses = accumulate_gradients();
    require_finite("loss", losses.total(training_.loss_factors()));
    const double norm = optimizer_.gradient_norm(context_);
    require_finite("gradient", norm);

    StepMetrics metrics;
    metrics.learning_rate = training_.schedule().at(state_.step);
    optimizer_.step(context_,
                    {.learning_rate = metrics.learning_rate,
                     .beta1 = training_.beta1,
                     .beta2 = training_.beta2,
                     .epsilon = training_.epsilon,
                     .weight_decay = training_.weight_decay,
                     .gradient_clip = training_.gradient_clip},
                    state_.step, norm);
    for (std::size_t i = 0; i < layers_.biases.size(); ++i)
      if (layers_.biases[i].defined())
        update_router_bias(layers_.biases[i], losses.expert_load[i], training_.router_bias_update_rate);
    ++state_.step;
    state_.sequences += training_.batch_size;
    state_.tokens += losses.targets;

    metrics.step = state_.step;
    metrics.loss = losses.main;
    metrics.mtp_loss = mean_of(losses.mtp);
    metrics.balance_loss = losses.balance;
    metrics.gradient_norm = norm;
    for (const std::vector<std::int64_t>& load : losses.expert_load)
      metrics.layer_max_vio.push_back(max_violation(load));
    metrics.max_vio = mean_of(metrics.layer_max_vio);
    metrics.tokens = state_.tokens;
    metrics.tokens_per_second = static_cast<double>(losses.targets) / (monotonic_seconds() - begin);
    return metrics;
  }

  void require_finite(std::string_view what, double value) const {
    if (std::isfinite(value)) return;
    const std::optional<std::int64_t> newest = folder_.newest_checkpoint();
    fail("step {}: the {} is {}; {}: lower training.learning_rate or raise training.warmup_steps, then {}",
         state_.step + 1, what, value,
         newest ? fmt::format("the last good checkpoint is {}", folder_.checkpoint(*newest).string())
                : std::string("there is no checkpoint yet"),
         newest ? "--resume" : "start again");
  }

  void evaluate(MetricsLog& log) {
    last_eval_ = evaluation_.run(context_, model_, state_.step);
    log.append(*last_eval_);
    report_.add(*last_eval_);
    report_.write(folder_.report_file());
  }

  void save() {
    save_checkpoint(folder_, config_, training_, weights_, optimizer_, state_);
    saved_step_ = state_.step;
  }

  void announce() const {
    const ParameterCounts counts = count_parameters(config_);
    const auto parameters =
        static_cast<std::uint64_t>(counts.total + config_.num_nextn_predict_layers * counts.mtp_module);
    log_info(
        "{} parameters ({} with weights, gradients and moments), {} training tokens, {} a step, {} threads",
        format_count(parameters), format_bytes(parameters * 4 * sizeof(float)),
        format_count(static_cast<std::uint64_t>(manifest_.train.tokens)),
        format_count(static_cast<std::uint64_t>(training_.batch_size * training_.sequence_length)),
        context_.pool.threads());
    if (resumed_) log_info("continuing {} after step {}", folder_.path().string(), state_.step);
  }

  void show(const StepMetrics& metrics) {
    // A mean that forgets by a tenth a step: steady, yet soon right after a pause.
    const double rate = metrics.tokens_per_second;
    speed_ = speed_ > 0 ? 0.9 * speed_ + 0.1 * rate : rate;
    const auto left = static_cast<double>((training_.steps - metrics.step) * training_.batch_size *
                                          training_.sequence_length);
    std::string text = fmt::format("step {}/{}  loss {:.4f}", metrics.step, training_.steps, metrics.loss);
    if (metrics.mtp_loss) text += fmt::format("  mtp {:.4f}", *metrics.mtp_loss);
    if (metrics.max_vio) text += fmt::format("  MaxVio {:.2f}", *metrics.max_vio);
    text +=
        fmt::format("  lr {:.2e}  |g| {:.2f}  {} tok/s  ETA {}", metrics.learning_rate, metrics.gradient_norm,
                    format_count(static_cast<std::uint64_t>(speed_)), format_duration(left / speed_));
    if (last_eval_)
      text += fmt::format("  held-out {:.4f} ({:.3f} bpb)", last_eval_->loss, last_eval_->bits_per_byte);
    progress_.update(text);
    last_line_ = std::move(text);
  }

  TrainResult finish() {
    report_.write(folder_.report_file());
    if (!last_line_.empty()) progress_.finish(last_line_);
    TrainResult result;
    result.step = state_.step;
    result.complete = state_.step >= training_.steps;
    result.evaluation = last_eval_;
    if (const auto newest = folder_.newest_checkpoint()) result.checkpoint = folder_.checkpoint(*newest);
    return result;
  }

  const TrainOptions& options_;
  const TrainingConfig& training_;
  Context context_;
  DataManifest manifest_;
  ModelConfig config_;
  RunFolder folder_;
  std::optional<std::int64_t> resumed_;  // step of the checkpoint that this run continues
  TransformerWeights weights_;
  MoeLayers layers_;
  Optimizer optimizer_;
  Transformer model_;
  TokenDataset train_data_;
  TokenDataset held_out_data_;
  BatchLoader loader_;
  Evaluation evaluation_;
  Report report_;
  TrainingState state_;
  std::int64_t saved_step_ = 0;  // of the newest checkpoint
  ProgressLine progress_;
  std::string last_line_;
  double speed_ = 0;  // tokens per second
  std::optional<EvalMetrics> last_eval_;
};

}  // namespace

TrainResult train(const TrainOptions& options, ThreadPool& pool) {
  return Run(options, pool).run();
}

}  // namespace fathom
