#include "train/run_journal.h"

#include <fmt/core.h>

#include <filesystem>
#include <utility>

#include "base/file.h"
#include "train/evaluation.h"
#include "train/run_facts.h"

namespace fathom {
namespace {

constexpr std::uint64_t kMaxPictureBytes = std::uint64_t{1} << 20U;
constexpr std::size_t kMostShownSources = 4;  // in one line of progress

}  // namespace

RunJournal::RunJournal(const RunFolder& folder, const ModelConfig& config, const TrainingConfig& training,
                       const TrainingPlan& plan, const DataManifest& manifest,
                       const std::vector<std::string>& moe_layers, std::int64_t step,
                       const std::function<void(const StepMetrics&)>& on_step)
    : folder_(folder),
      training_(training),
      batches_(plan.batches()),
      report_(run_name(folder.path()), run_facts(config, training, manifest), moe_layers, training.steps),
      log_(folder.metrics_file(), step),
      curves_(folder.path(), moe_layers, step) {
  read(on_step);
}

/// What the run has told before.
void RunJournal::read(const std::function<void(const StepMetrics&)>& on_step) {
  read_metrics(
      folder_.metrics_file(),
      [&](const StepMetrics& metrics) {
        report_.add(metrics);
        on_step(metrics);
      },
      [&](const EvalMetrics& metrics) {
        report_.add(metrics);
        last_eval_ = metrics;
      });
  if (std::filesystem::exists(folder_.needle_file()))
    report_.set_needle_picture(read_text_file(folder_.needle_file(), kMaxPictureBytes));
}

void RunJournal::add(const StepMetrics& metrics) {
  log_.append(metrics);
  curves_.append(metrics);
  report_.add(metrics);
  show(metrics);
}

void RunJournal::add(const EvalMetrics& metrics) {
  last_eval_ = metrics;
  report_.add(metrics);
  write_report();
  log_.append(metrics);
  curves_.append(metrics);
}

void RunJournal::set_needle_picture(std::string picture) {
  write_file_atomically(folder_.needle_file(), picture);
  report_.set_needle_picture(std::move(picture));
}

void RunJournal::write_report() const {
  report_.write(folder_.report_file());
}

void RunJournal::finish() {
  write_report();
  if (last_step_) progress_.finish(progress_text());
}

void RunJournal::show(const StepMetrics& metrics) {
  // A mean that forgets by a tenth a step: steady, yet soon right after a pause.
  const double rate = metrics.tokens_per_second;
  speed_ = speed_ > 0 ? 0.9 * speed_ + 0.1 * rate : rate;
  last_step_ = metrics;
  progress_.update(progress_text());
}

std::string RunJournal::progress_text() const {
  const StepMetrics& metrics = *last_step_;
  const auto left = static_cast<double>((batches_.sequences() - batches_.sequences_before(metrics.step)) *
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

}  // namespace fathom
