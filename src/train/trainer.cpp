#include "train/trainer.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "model/fp8_weights.h"
#include "model/transformer.h"
#include "text/tokenizer.h"
#include "train/batch_loader.h"
#include "train/checkpoint.h"
#include "train/checkpoint_saver.h"
#include "train/data_manifest.h"
#include "train/evaluation.h"
#include "train/needle.h"
#include "train/needle_picture.h"
#include "train/optimizer.h"
#include "train/report.h"
#include "train/run_facts.h"
#include "train/run_folder.h"
#include "train/spike_detector.h"
#include "train/tensorboard.h"
#include "train/token_dataset.h"
#include "train/training_plan.h"
#include "train/training_step.h"
#include "train/weight_average.h"

namespace fathom {
namespace {

TransformerWeights initial_weights(const TrainOptions& options, const ModelConfig& config) {
  if (!options.init) return random_weights(config, static_cast<std::uint64_t>(options.training.seed));
  return load_initial_weights(*options.init, config);
}

constexpr std::uint64_t kMaxPictureBytes = std::uint64_t{1} << 20U;
constexpr std::size_t kMostShownSources = 4;  // in one line of progress

/// One run: what it owns, and its loop.
class Run {
 public:
  Run(const TrainOptions& options, ThreadPool& pool)
      : options_(options),
        training_(options.training),
        plan_(training_, "config"),
        context_{pool, training_.precision},
        manifest_(load_data_manifest(options.data)),
        config_(config_for_run(options, manifest_)),
        folder_(options.output),
        resumed_(find_checkpoint()),
        weights_(resumed_ ? load_training_weights(folder_.checkpoint(*resumed_), config_)
                          : initial_weights(options, config_)),
        optimizer_(config_, weights_, moments_dtype(training_.precision), training_.optimizer),
        average_(initial_average()),
        saver_(folder_, config_, training_),
        train_data_(open_sources(options.data, manifest_, "train", pool)),
        held_out_data_(open_sources(options.data, manifest_, "held_out", pool)),
        loader_(train_data_, training_.sequence_length, static_cast<std::uint64_t>(training_.seed)),
        step_(config_, training_, plan_, weights_, loader_, optimizer_),
        averaged_model_(initial_averaged_model()),
        spikes_(training_.spike_threshold, training_.spike_steps),
        tokenizer_(Tokenizer::load(options.data)),
        evaluation_(held_out_data_, tokenizer_, training_.sequence_length, training_.micro_batch(),
                    training_.eval_tokens),
        report_(run_name(folder_.path()), run_facts(config_, training_, manifest_), step_.moe_layers(),
                training_.steps) {
    check_needle_length();
    state_ = restored_state();
    saved_step_ = state_.step;
    quantize();
    write_run_config(folder_.config_file(), config_, training_);
  }

  TrainResult run() {
    MetricsLog log(folder_.metrics_file(), state_.step);
    read_metrics(
        folder_.metrics_file(),
        [&](const StepMetrics& metrics) {
          report_.add(metrics);
          spikes_.add(metrics.step, metrics.loss, metrics.gradient_norm);
        },
        [&](const EvalMetrics& metrics) {
          report_.add(metrics);
          last_eval_ = metrics;
        });
    TensorboardLog curves(folder_.path(), step_.moe_layers(), state_.step);
    if (std::filesystem::exists(folder_.needle_file()))
      report_.set_needle_picture(read_text_file(folder_.needle_file(), kMaxPictureBytes));
    announce();
    const std::int64_t end = std::min(training_.steps, options_.stop_at.value_or(training_.steps));
    while (state_.step < end && !stopped()) {
      const StepMetrics metrics = one_step();
      log.append(metrics);
      curves.append(metrics);
      report_.add(metrics);
      show(metrics);
      if (is_due(training_.eval_interval) && evaluation_.targets() > 0) {
        evaluate();
        log.append(*last_eval_);
        curves.append(*last_eval_);
      }
      is_saving_due_ = is_saving_due_ || is_due(training_.checkpoint_interval);
      // What may be a spike's beginning must not take the place of a good checkpoint.
      if (is_saving_due_ && state_.step < end && !spikes_.rising_since()) save_in_background();
    }
    finish_saving();
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
    fresh.order_checksum = manifest_.order_checksum();
    fresh.optimizer = optimizer_name(training_.optimizer);
    fresh.data = std::filesystem::absolute(options_.data);
    if (!resumed_) return fresh;

    const std::filesystem::path checkpoint = folder_.checkpoint(*resumed_);
    const TrainingState saved = load_training_state(checkpoint);
    const std::string where = (checkpoint / "state.json").string();
    require(saved.step == *resumed_, "{}: it is of step {}, not of its folder's", where, saved.step);
    require(saved.optimizer == fresh.optimizer,
            "{}: the run's training.optimizer is {}, whose state is no start for {}: it cannot change", where,
            saved.optimizer, fresh.optimizer);
    require(saved.tokenizer_hash == fresh.tokenizer_hash && saved.train_tokens == fresh.train_tokens,
            "{}: the run was trained on other data ({}) than {}: resume with the same data", where,
            saved.data.string(), options_.data.string());
    require(!saved.order_checksum || saved.order_checksum == fresh.order_checksum,
            "{}: shards or weights of the sources in {} have changed since, and with them the run's place in "
            "the data: restore its manifest.json",
            where, options_.data.string());
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

  StepMetrics one_step() {
    saver_.check();
    const double begin = monotonic_seconds();
    const TrainingStep::Gradients gradients = step_.gradients(context_, state_);
    require_finite("loss", gradients.loss);
    require_finite("gradient", gradients.norm);
    spikes_.add(state_.step + 1, gradients.losses.main, gradients.norm);
    require_no_spike();
    saver_.before_change(context_.pool);
    StepMetrics metrics = step_.update(context_, gradients, state_);
    quantize();
    if (average_) average_->update(context_);
    metrics.checkpoint_stall_seconds = saver_.take_stall_seconds();
    metrics.tokens_per_second = static_cast<double>(gradients.losses.targets) / (monotonic_seconds() - begin);
    return metrics;
  }

  /// After each change of the weights.
  void quantize() {
    if (context_.precision == Precision::fp8) quantize_weights(context_, weights_);
  }

  /// Before the error that names the checkpoint to go back to: it is on the disk, and the page shows the way
  /// there.
  void end_badly() {
    saver_.wait();
    report_.write(folder_.report_file());
  }

  void require_finite(std::string_view what, double value) {
    if (std::isfinite(value)) return;
    end_badly();
    const std::optional<std::int64_t> newest = folder_.newest_checkpoint();
    fail("step {}: the {} is {}; {}: lower training.learning_rate or raise training.warmup_steps, then {}",
         state_.step + 1, what, std::isnan(value) ? "nan" : fmt::format("{}", value),  // never "-nan"
         newest ? fmt::format("the last good checkpoint is {}", folder_.checkpoint(*newest).string())
                : std::string("there is no checkpoint yet"),
         newest ? "--resume" : "start again");
  }

  void require_no_spike() {
    const std::optional<SpikeDetector::Spike> spike = spikes_.spike();
    if (!spike) return;
    end_badly();
    // The step before the first high one may have been the bad one; what was saved before it is good.
    std::optional<std::int64_t> good;
    for (const std::int64_t step : folder_.checkpoints())
      if (step < spike->first - 1) good = step;
    const bool is_newest = good == folder_.newest_checkpoint();
    fail(
        "step {}: {}, for {} steps now; {}: {}lower training.learning_rate, then {}, or go on regardless "
        "with {}",
        state_.step + 1, spike->what, state_.step + 2 - spike->first,
        good ? fmt::format("the last good checkpoint is {}", folder_.checkpoint(*good).string())
             : std::string("there is no checkpoint from before"),
        good && !is_newest ? "remove those after it and " : "", good ? "--resume" : "start again",
        "--set training.spike_threshold=0");
  }

  std::optional<WeightAverage> initial_average() {
    if (training_.ema_decay == 0) return std::nullopt;
    std::optional<TransformerWeights> saved;
    if (resumed_) saved = load_average(folder_.checkpoint(*resumed_), config_);
    return WeightAverage(config_, weights_, saved ? std::move(*saved) : copy_weights(config_, weights_),
                         training_.ema_decay);
  }

  std::unique_ptr<const Transformer> initial_averaged_model() const {
    if (!average_) return nullptr;
    return std::make_unique<const Transformer>(step_.config(), average_->weights(),
                                               training_.sequence_length);
  }

  void evaluate() {
    last_eval_ = evaluation_.run(context_, step_.model(), state_.step);
    // The average has no FP8 codes.
    if (averaged_model_)
      last_eval_->averaged_loss = evaluation_.run(context_.without_fp8(), *averaged_model_, state_.step).loss;
    if (training_.needle_length > 0) last_eval_->needle_accuracy = try_needles();
    report_.add(*last_eval_);
    report_.write(folder_.report_file());
  }

  void check_needle_length() const {
    const std::int64_t shortest = shortest_needle_text(tokenizer_);
    require(training_.needle_length == 0 || training_.needle_length >= shortest,
            "training.needle_length is {}, with this tokenizer it must be 0 or at least {}",
            training_.needle_length, shortest);
  }

  /// Draws the map anew and returns what part of the facts was found.
  double try_needles() {
    const NeedleOptions needle = {
        .lengths = doubling_lengths(training_.needle_length, shortest_needle_text(tokenizer_), 6),
        .depths = even_depths(6),
        .trials = 2};
    const NeedleMap map = find_needles(context_, step_.model(), tokenizer_, generated_haystack(), needle);
    std::string picture = needle_svg(map, fmt::format("{}, step {}", run_name(folder_.path()), state_.step),
                                     config_.max_position_embeddings);
    write_file_atomically(folder_.needle_file(), picture);
    report_.set_needle_picture(std::move(picture));
    return map.accuracy();
  }

  void save_in_background() {
    saver_.begin(trained_tensors(weights_, optimizer_, average_), state_);
    saved_step_ = state_.step;
    is_saving_due_ = false;
  }

  /// The checkpoint of the last step is on disk after this.
  void finish_saving() {
    saver_.wait();
    if (saved_step_ == state_.step) return;
    saver_.save(trained_tensors(weights_, optimizer_, average_), state_);
    saved_step_ = state_.step;
  }

  void announce() const {
    if (options_.on_start) options_.on_start();
    if (train_data_.size() > 1) announce_sources();
    if (resumed_) log_info("continuing {} after step {}", folder_.path().string(), state_.step);
  }

  void announce_sources() const {
    for (std::size_t i = 0; i < train_data_.size(); ++i)
      log_info("source {}: {:.2f} % of the sequences, {} tokens, {:.2f} epochs in {} steps",
               printable(train_data_[i].name), 100 * loader_.share(i),
               format_count(static_cast<std::uint64_t>(train_data_[i].tokens.tokens())),
               loader_.epochs(i, plan_.batches().sequences()), training_.steps);
  }

  void show(StepMetrics metrics) {
    // A mean that forgets by a tenth a step: steady, yet soon right after a pause.
    const double rate = metrics.tokens_per_second;
    speed_ = speed_ > 0 ? 0.9 * speed_ + 0.1 * rate : rate;
    last_step_ = std::move(metrics);
    progress_.update(progress_text());
  }

  [[nodiscard]] std::string progress_text() const {
    const StepMetrics& metrics = *last_step_;
    const BatchPlan& batches = plan_.batches();
    const auto left = static_cast<double>((batches.sequences() - batches.sequences_before(metrics.step)) *
                                          training_.sequence_length);
    std::string text = fmt::format("step {}/{}  loss {:.4f}", metrics.step, training_.steps, metrics.loss);
    if (metrics.mtp_loss) text += fmt::format("  mtp {:.4f}", *metrics.mtp_loss);
    if (metrics.max_vio) text += fmt::format("  MaxVio {:.2f}", *metrics.max_vio);
    text +=
        fmt::format("  lr {:.2e}  |g| {:.2f}  {} tok/s  ETA {}", metrics.learning_rate, metrics.gradient_norm,
                    format_count(static_cast<std::uint64_t>(speed_)), format_duration(left / speed_));
    if (last_eval_)
      text += fmt::format("  held-out {:.4f} ({:.3f} bpb)", last_eval_->loss, last_eval_->bits_per_byte);
    if (last_eval_ && !last_eval_->source_loss.empty() && last_eval_->source_loss.size() <= kMostShownSources)
      text += fmt::format(" [{}]", source_loss_text(last_eval_->source_loss));
    if (last_eval_ && last_eval_->tokens_per_step)
      text += fmt::format("  drafts taken {:.0f} % ({:.2f} tokens a step)",
                          100 * last_eval_->draft_acceptance.front(), *last_eval_->tokens_per_step);
    return text;
  }

  TrainResult finish() {
    report_.write(folder_.report_file());
    if (last_step_) progress_.finish(progress_text());
    TrainResult result;
    result.step = state_.step;
    result.complete = state_.step >= training_.steps;
    result.evaluation = last_eval_;
    if (const auto newest = folder_.newest_checkpoint()) result.checkpoint = folder_.checkpoint(*newest);
    return result;
  }

  const TrainOptions& options_;
  const TrainingConfig& training_;
  TrainingPlan plan_;
  Context context_;
  DataManifest manifest_;
  ModelConfig config_;
  RunFolder folder_;
  std::optional<std::int64_t> resumed_;  // step of the checkpoint that this run continues
  TransformerWeights weights_;
  Optimizer optimizer_;
  std::optional<WeightAverage> average_;
  CheckpointSaver saver_;  // after what it reads
  std::vector<SourceTokens> train_data_;
  std::vector<SourceTokens> held_out_data_;
  BatchLoader loader_;
  TrainingStep step_;
  std::unique_ptr<const Transformer> averaged_model_;
  SpikeDetector spikes_;
  Tokenizer tokenizer_;
  Evaluation evaluation_;
  Report report_;
  TrainingState state_;
  std::int64_t saved_step_ = 0;  // of the newest checkpoint
  bool is_saving_due_ = false;   // and put off while there may be a spike
  ProgressLine progress_;
  std::optional<StepMetrics> last_step_;
  double speed_ = 0;  // tokens per second
  std::optional<EvalMetrics> last_eval_;
};

}  // namespace

ModelConfig config_for_run(const TrainOptions& options, const DataManifest& manifest) {
  const TrainingConfig& training = options.training;
  ModelConfig config = options.model;
  require(training.sequence_length <= config.max_position_embeddings,
          "training.sequence_length is {}, the config's max_position_embeddings {}: lower the one, raise "
          "the other for a new model, or extend a trained one with --init and --extend-context",
          training.sequence_length, config.max_position_embeddings);
  require(manifest.vocab_size <= config.vocab_size,
          "the data has a vocabulary of {} tokens, the config's vocab_size is {}: raise it to at least {}",
          manifest.vocab_size, config.vocab_size, manifest.vocab_size);
  if (config.bos_token_id < 0) config.bos_token_id = manifest.bos_token_id;
  if (config.eos_token_ids.empty() && manifest.eos_token_id >= 0)
    config.eos_token_ids = {manifest.eos_token_id};
  return config;
}

TrainResult train(const TrainOptions& options, ThreadPool& pool) {
  return Run(options, pool).run();
}

}  // namespace fathom
