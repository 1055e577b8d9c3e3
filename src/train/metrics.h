#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace fathom {

/// What one step measured. Losses are means over the step's targets, in nats.
struct StepMetrics {
  std::int64_t step = 0;                // steps done, this one included
  double loss = 0;                      // main head
  std::optional<double> mtp_loss = {};  // mean over MTP modules
  double balance_loss = 0;              // sum over MoE layers, before its factor
  double learning_rate = 0;
  double mtp_loss_factor = 0;              // lambda
  double router_bias_update_rate = 0;      // gamma; 0 where the bias does not move
  std::int64_t batch_size = 0;             // sequences
  double gradient_norm = 0;                // before clipping
  std::optional<double> max_vio = {};      // mean over MoE layers of the batch's MaxVio
  std::vector<double> layer_max_vio = {};  // [MoE layers], the MTP modules' last
  std::int64_t tokens = 0;                 // trained on so far
  double tokens_per_second = 0;
  double checkpoint_stall_seconds = 0;  // that training waited for a checkpoint since the step before
};

/// The held-out loss of one of several sources (train/data_manifest.h).
struct SourceLoss {
  std::string source;
  double loss = 0;  // main head, nats per token

  bool operator==(const SourceLoss&) const = default;
};

/// What an evaluation after `step` steps measured.
struct EvalMetrics {
  std::int64_t step = 0;
  double loss = 0;  // main head, nats per token
  std::optional<double> mtp_loss = {};
  std::optional<double> averaged_loss = {};  // main head, of the averaged weights
  std::vector<SourceLoss> source_loss = {};  // of each source with held-out text, where there are several
  double bits_per_byte = 0;                  // of the text, BOS and EOS counted as no bytes
  std::int64_t tokens = 0;                   // targets evaluated
  /// Per MTP module: the part of its drafts that the main model takes, when both choose the most probable
  /// token, and in expectation when both sample (model/head_evaluation.h).
  std::vector<double> draft_acceptance = {};
  std::vector<double> sampled_draft_acceptance = {};
  std::optional<double> needle_accuracy = {};  // part of the facts found (train/needle.h), where it was tried
  std::optional<double> tokens_per_step = {};  // of speculative decoding by all modules, greedy
  // MaxVio of loads taken over all evaluated tokens (MaxVio_global of arXiv 2408.15664) ...
  std::optional<double> max_vio = {};      // mean over MoE layers
  std::vector<double> layer_max_vio = {};  // [MoE layers], the MTP modules' last
  // ... and over the tokens of one forward pass, mean over those and the MoE layers (MaxVio_batch).
  std::optional<double> batch_max_vio = {};
  std::vector<std::vector<double>> expert_load =
      {};  // [MoE layers][n_routed_experts], relative to the layer's mean
};

/// RUN/metrics.jsonl: a JSON object per line, steps (`"loss"`) and evaluations (`"held_out_loss"`) in order.
class MetricsLog {
 public:
  /// Opens for appending. Drops what stands after `last_step`, and a line that a crash cut short: a resumed
  /// run writes those steps again.
  MetricsLog(const std::filesystem::path& file, std::int64_t last_step);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  void append(const StepMetrics& metrics);
  void append(const EvalMetrics& metrics);

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;

  void append_line(std::string line);
};

/// Reads a log of any length, a line at a time. A last line without its end is left out: a run is writing it
/// now, or was killed while it did. Figures that a line of another version lacks are NaN (counts 0, lists and
/// optionals empty). Throws `Error` naming file and line when one is not as `MetricsLog` writes it.
void read_metrics(const std::filesystem::path& file, const std::function<void(const StepMetrics&)>& on_step,
                  const std::function<void(const EvalMetrics&)>& on_eval);

}  // namespace fathom
