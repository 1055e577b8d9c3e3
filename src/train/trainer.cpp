#include "train/trainer.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "dist/collectives.h"
#include "dist/expert_exchange.h"
#include "dist/local_communicator.h"
#include "dist/sequence_ring.h"
#include "model/fp8_weights.h"
#include "model/transformer.h"
#include "text/tokenizer.h"
#include "train/checkpoint.h"
#include "train/checkpoint_saver.h"
#include "train/data_manifest.h"
#include "train/evaluation.h"
#include "train/needle.h"
#include "train/needle_picture.h"
#include "train/optimizer.h"
#include "train/parallel_layout.h"
#include "train/parameter_shards.h"
#include "train/pipelined_model.h"
#include "train/replicas.h"
#include "train/run_facts.h"
#include "train/run_folder.h"
#include "train/run_journal.h"
#include "train/spike_detector.h"
#include "train/training_data.h"
#include "train/training_plan.h"
#include "train/training_step.h"
#include "train/weight_average.h"

namespace fathom {
namespace {

TransformerWeights initial_weights(const TrainOptions& options, const ModelConfig& config,
                                   const RowsKept& kept) {
  if (options.init) return load_initial_weights(*options.init, config, kept);
  return random_weights(config, static_cast<std::uint64_t>(options.training.seed), nullptr, kept);
}

/// The exchange of the ranks that share experts out; null where each has all of them.
std::unique_ptr<ExpertExchange> open_experts(Communicator& ranks, const ParallelLayout& layout,
                                             const ModelConfig& config) {
  if (layout.options.experts == 1) return nullptr;
  const std::unique_ptr<Communicator> group = ranks.split(ranks.rank() / layout.options.experts, 0);
  const int on_node = ranks_per_node(*group);
  return std::make_unique<ExpertExchange>(*group, config.n_routed_experts, on_node);
}

/// The ring of the ranks that share sequences; null where each has its own.
std::unique_ptr<SequenceRing> open_ring(Communicator& ranks, const ParallelLayout& layout) {
  if (layout.options.context == 1) return nullptr;
  return std::make_unique<SequenceRing>(*ranks.split(ranks.rank() / layout.options.context, 0));
}

/// The ranks that this one is in a pipeline with; null where there is none.
std::unique_ptr<Communicator> open_pipeline(Communicator& ranks, const ParallelLayout& layout) {
  return layout.has_pipeline() ? ranks.split(layout.replica_of(ranks.rank()), ranks.rank()) : nullptr;
}

/// One run: what it owns, and its loop. Of several ranks each has one; the first also has what is written.
class Run {
 public:
  Run(const TrainOptions& options, Communicator& ranks, ThreadPool& pool)
      : options_(options),
        training_(options.training),
        ranks_(ranks),
        plan_(training_, "config"),
        manifest_(load_data_manifest(options.data)),
        config_(config_for_run(options, manifest_)),
        layout_(make_layout(ranks.size(), options.parallel, config_)),
        experts_(open_experts(ranks, layout_, config_)),
        pipeline_(open_pipeline(ranks, layout_)),
        ring_(open_ring(ranks, layout_)),
        context_{pool, training_.precision, experts_.get(), ring_.get()},
        folder_(open_folder()),
        resumed_(find_checkpoint()),
        weights_(resumed_ ? load_training_weights(checkpoint_folder(*resumed_), config_, kept())
                          : initial_weights(options, config_, kept())),
        optimizer_(config_, weights_, moments_dtype(training_.precision), training_.optimizer,
                   ParameterShards(config_, training_.optimizer, layout_), ranks.rank()),
        replicas_(ranks, config_, weights_, optimizer_),
        average_(initial_average()),
        data_(open_training_data(options.data, manifest_, training_, pool)),
        step_(config_, training_, plan_, weights_, data_->train(), optimizer_, replicas_, pipeline_.get()),
        averaged_model_(initial_averaged_model()),
        spikes_(training_.spike_threshold, training_.spike_steps),
        tokenizer_(Tokenizer::load(options.data)),
        evaluation_(data_->held_out(), tokenizer_) {
    check_needle_length();
    require(
        layout_.is_replicated() || training_.needle_length == 0,
        "training.needle_length: one process reads the needles' texts, and here none has the whole model: "
        "leave it out, and use `fathom needle` on a checkpoint");
    require(!pipeline_ || training_.micro_batch_size > 0,
            "a pipeline works on several micro-batches at once: set training.micro_batch_size");
    require(ranks.size() == 1 || training_.balance != Balance::aux_loss || training_.micro_batch_size > 0,
            "training.balance is aux_loss, a loss of all tokens of a forward pass: on several processes set "
            "training.micro_batch_size, or those would depend on their number");
    state_ = restored_state();
    saved_step_ = state_.step;
    quantize();
    if (!folder_) return;
    saver_.emplace(*folder_, config_, training_);
    write_run_config(folder_->config_file(), config_, training_);
  }

  TrainResult run() {
    if (folder_)
      journal_.emplace(*folder_, config_, training_, plan_, manifest_, step_.moe_layers(), state_.step,
                       [&](const StepMetrics& metrics) {
                         spikes_.add(metrics.step, metrics.loss, metrics.gradient_norm);
                       });
    announce();
    const std::int64_t end = std::min(training_.steps, options_.stop_at.value_or(training_.steps));
    bool is_stopped = agree(stopped());
    while (state_.step < end && !is_stopped) {
      const StepMetrics metrics = one_step();
      if (journal_) journal_->add(metrics);
      if (is_due(training_.eval_interval) && evaluation_.targets() > 0) evaluate();
      is_saving_due_ = is_saving_due_ || is_due(training_.checkpoint_interval);
      // What may be a spike's beginning must not take the place of a good checkpoint.
      if (is_saving_due_ && state_.step < end && agree(!spikes_.rising_since())) save_in_background();
      is_stopped = agree(stopped());
    }
    finish_saving();
    return finish();
  }

 private:
  /// What this rank holds.
  [[nodiscard]] RowsKept kept() const { return rows_on(layout_, config_, ranks_.rank()); }

  [[nodiscard]] bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  [[nodiscard]] bool is_due(std::int64_t interval) const {
    return state_.step == training_.steps || (interval > 0 && state_.step % interval == 0);
  }

  /// What the first rank decides.
  [[nodiscard]] bool agree(bool value) const {
    auto byte = static_cast<std::byte>(value);
    broadcast(ranks_, std::span(&byte, 1), 0);
    return byte != std::byte{0};
  }

  [[nodiscard]] std::unique_ptr<RunFolder> open_folder() const {
    return ranks_.rank() == 0 ? std::make_unique<RunFolder>(options_.output) : nullptr;
  }
  [[nodiscard]] std::filesystem::path checkpoint_folder(std::int64_t step) const {
    return RunFolder::checkpoint_of(options_.output, step);
  }

  /// The one to continue from, as the first rank finds it.
  [[nodiscard]] std::optional<std::int64_t> find_checkpoint() const {
    std::optional<std::int64_t> newest;
    if (folder_) {
      newest = folder_->newest_checkpoint();
      require(options_.resume || (!newest && !std::filesystem::exists(folder_->metrics_file())),
              "{} already holds a run at step {}: add --resume to continue, or choose another --output",
              folder_->path().string(), newest.value_or(0));
    }
    std::int64_t step = newest.value_or(-1);
    broadcast(ranks_, std::as_writable_bytes(std::span(&step, 1)), 0);
    return step < 0 ? std::nullopt : std::optional(step);
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

    const std::filesystem::path checkpoint = checkpoint_folder(*resumed_);
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
    if (folder_) warn_of_changes(folder_->config_file(), training_);
    fresh.step = saved.step;
    fresh.sequences = saved.sequences;
    fresh.tokens = saved.tokens;
    return fresh;
  }

  StepMetrics one_step() {
    if (saver_) saver_->check();
    const double begin = monotonic_seconds();
    const TrainingStep::Gradients gradients = step_.gradients(context_, state_);
    if (saver_) {
      require_finite("loss", gradients.loss);
      require_finite("gradient", gradients.norm);
      spikes_.add(state_.step + 1, gradients.losses.main, gradients.norm);
      require_no_spike();
      saver_->before_change(context_.pool);
    }
    StepMetrics metrics = step_.update(context_, gradients, state_);
    quantize();
    if (average_) average_->update(context_);
    if (saver_) metrics.checkpoint_stall_seconds = saver_->take_stall_seconds();
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
    saver_->wait();
    journal_->write_report();
  }

  void require_finite(std::string_view what, double value) {
    if (std::isfinite(value)) return;
    end_badly();
    const std::optional<std::int64_t> newest = folder_->newest_checkpoint();
    fail("step {}: the {} is {}; {}: lower training.learning_rate or raise training.warmup_steps, then {}",
         state_.step + 1, what, std::isnan(value) ? "nan" : fmt::format("{}", value),  // never "-nan"
         newest ? fmt::format("the last good checkpoint is {}", checkpoint_folder(*newest).string())
                : std::string("there is no checkpoint yet"),
         newest ? "--resume" : "start again");
  }

  void require_no_spike() {
    const std::optional<SpikeDetector::Spike> spike = spikes_.spike();
    if (!spike) return;
    end_badly();
    // The step before the first high one may have been the bad one; what was saved before it is good.
    std::optional<std::int64_t> good;
    for (const std::int64_t step : folder_->checkpoints())
      if (step < spike->first - 1) good = step;
    const bool is_newest = good == folder_->newest_checkpoint();
    fail(
        "step {}: {}, for {} steps now; {}: {}lower training.learning_rate, then {}, or go on regardless "
        "with {}",
        state_.step + 1, spike->what, state_.step + 2 - spike->first,
        good ? fmt::format("the last good checkpoint is {}", checkpoint_folder(*good).string())
             : std::string("there is no checkpoint from before"),
        good && !is_newest ? "remove those after it and " : "", good ? "--resume" : "start again",
        "--set training.spike_threshold=0");
  }

  std::optional<WeightAverage> initial_average() {
    if (training_.ema_decay == 0) return std::nullopt;
    std::optional<TransformerWeights> saved;
    if (resumed_) saved = load_average(checkpoint_folder(*resumed_), config_, kept());
    return WeightAverage(config_, weights_, saved ? std::move(*saved) : copy_weights(config_, weights_),
                         training_.ema_decay);
  }

  std::function<Losses(const Batch&)> initial_averaged_model() {
    if (!average_) return {};
    // The average has no FP8 codes.
    if (pipeline_)
      return [this, model = std::make_shared<PipelinedModel>(step_.config(), average_->weights(),
                                                             training_.sequence_length, layout_.options,
                                                             *pipeline_)](const Batch& batch) {
        return model->evaluate(context_.without_fp8(), batch);
      };
    return [this, model = std::make_shared<const Transformer>(
                      step_.config(), average_->weights(), training_.sequence_length)](const Batch& batch) {
      return model->forward(context_.without_fp8(), batch, LossFactors{}, nullptr);
    };
  }

  [[nodiscard]] EvalMetrics measure(std::function<Losses(const Batch&)> model) const {
    return evaluation_.run(
        config_,
        {std::move(model), layout_.replica_of(ranks_.rank()), layout_.replicas(), experts_ != nullptr},
        state_.step, ranks_);
  }

  void evaluate() {
    EvalMetrics metrics = measure([&](const Batch& batch) { return step_.evaluate(context_, batch); });
    if (averaged_model_) metrics.averaged_loss = measure(averaged_model_).loss;
    if (!journal_) return;
    if (training_.needle_length > 0) metrics.needle_accuracy = try_needles();
    journal_->add(metrics);
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
    journal_->set_needle_picture(
        needle_svg(map, fmt::format("{}, step {}", run_name(folder_->path()), state_.step),
                   config_.max_position_embeddings));
    return map.accuracy();
  }

  /// On the first rank; with one rank they share storage.
  [[nodiscard]] TrainedTensors gathered_tensors() {
    std::optional<TransformerWeights> average;
    if (average_) average = replicas_.gather_all(average_->weights());
    return trained_tensors(replicas_.gather_all(weights_), replicas_.gather_moments(), std::move(average));
  }

  void save_in_background() {
    const TrainedTensors tensors = gathered_tensors();
    if (saver_) saver_->begin(tensors, state_);
    saved_step_ = state_.step;
    is_saving_due_ = false;
  }

  /// The checkpoint of the last step is on disk after this.
  void finish_saving() {
    if (saver_) saver_->wait();
    if (saved_step_ == state_.step) return;
    const TrainedTensors tensors = gathered_tensors();
    if (saver_) saver_->save(tensors, state_);
    saved_step_ = state_.step;
  }

  void announce() const {
    if (!folder_) return;
    if (options_.on_start) options_.on_start();
    data_->announce(plan_.batches().sequences());
    if (resumed_) log_info("continuing {} after step {}", folder_->path().string(), state_.step);
  }

  TrainResult finish() {
    TrainResult result;
    result.step = state_.step;
    result.complete = state_.step >= training_.steps;
    if (!journal_) return result;
    journal_->finish();
    result.evaluation = journal_->last_evaluation();
    if (const auto newest = folder_->newest_checkpoint()) result.checkpoint = checkpoint_folder(*newest);
    return result;
  }

  const TrainOptions& options_;
  const TrainingConfig& training_;
  Communicator& ranks_;
  TrainingPlan plan_;
  DataManifest manifest_;
  ModelConfig config_;
  ParallelLayout layout_;
  std::unique_ptr<ExpertExchange> experts_;  // where they are shared out
  std::unique_ptr<Communicator> pipeline_;   // where there is one: the ranks that compute with this one
  std::unique_ptr<SequenceRing> ring_;       // where sequences are shared out
  Context context_;
  std::unique_ptr<RunFolder> folder_;    // of the first rank
  std::optional<std::int64_t> resumed_;  // step of the checkpoint that this run continues
  TransformerWeights weights_;
  Optimizer optimizer_;
  Replicas replicas_;
  std::optional<WeightAverage> average_;
  std::optional<CheckpointSaver> saver_;  // of the first rank; after what it reads
  std::unique_ptr<TrainingData> data_;
  TrainingStep step_;
  std::function<Losses(const Batch&)> averaged_model_;
  SpikeDetector spikes_;  // the first rank's sees something
  Tokenizer tokenizer_;
  Evaluation evaluation_;
  TrainingState state_;
  std::int64_t saved_step_ = 0;        // of the newest checkpoint
  bool is_saving_due_ = false;         // and put off while there may be a spike
  std::optional<RunJournal> journal_;  // of the first rank
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
  const std::unique_ptr<Communicator> alone = single_communicator();
  return train(options, *alone, pool);
}

TrainResult train(const TrainOptions& options, Communicator& ranks, ThreadPool& pool) {
  return Run(options, ranks, pool).run();
}

}  // namespace fathom
