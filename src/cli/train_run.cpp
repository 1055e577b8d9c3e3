#include "cli/train_run.h"

#include "base/log.h"
#include "cli/interrupt.h"
#include "cli/job.h"

namespace fathom::cli {

std::optional<TrainResult> train_until_interrupted(TrainOptions& options, Communicator& ranks,
                                                   ThreadPool& pool) {
  const InterruptFlag interrupted;
  options.stop = &interrupted.raised();
  const EndWatch watch(ranks, interrupted, options.output);
  TrainResult result = train(options, ranks, pool);
  options.stop = nullptr;  // goes with the flag
  if (ranks.rank() > 0) return std::nullopt;
  return result;
}

void announce_end(const TrainOptions& options, const TrainResult& result) {
  if (!result.checkpoint.empty()) log_info("model: {}", result.checkpoint.string());
  log_info("report: {}/report.html", options.output.string());
  if (!result.complete)
    log_info("stopped after step {} of {}: continue with `fathom train --resume --output {}`", result.step,
             options.training.steps, options.output.string());
}

}  // namespace fathom::cli
