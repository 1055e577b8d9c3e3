#include "infer/speculation.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>

#include "base/error.h"

namespace fathom {

void validate_speculation_options(const SpeculationOptions& options) {
  if (options.most_drafts < 1 || options.most_drafts > StepCost::kMostTokens - 1)
    throw UsageError(fmt::format("draft-tokens is {}; it must be from 1 to {}", options.most_drafts,
                                 StepCost::kMostTokens - 1));
}

Speculation::Speculation(const ModelConfig& config, const Drafter& drafter, const SpeculationOptions& options)
    : drafter_(drafter), options_(options), cost_(config, drafter) {
  validate_speculation_options(options);
}

Speculation::Text Speculation::begin(std::int64_t capacity) const {
  return {drafter_.begin(capacity),
          DraftLength(cost_, drafter_.expected_acceptance(), options_.most_drafts, options_.adaptive)};
}

void Speculation::read(Text& text, std::span<const std::int32_t> tokens, const Tensor& hidden) const {
  drafter_.read(*text.state_, tokens, hidden);
}

void Speculation::draft(const Context& context, std::span<Request> requests, std::int64_t others) {
  others += static_cast<std::int64_t>(requests.size()) - 1;
  std::vector<Drafter::Job> jobs;
  std::vector<Request*> of_job;
  std::int64_t longest = 0;
  for (Request& request : requests) {
    request.drafts.clear();
    request.text.step_ = {.others = others};
    const std::int64_t count = request.text.length_.to_draft(request.room, others);
    if (count == 0) continue;
    jobs.push_back({*request.text.state_, request.next, count, request.sampler});
    of_job.push_back(&request);
    longest = std::max(longest, count);
  }
  if (jobs.empty()) return;
  const auto start = std::chrono::steady_clock::now();
  drafter_.draft(context, jobs);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  // Behind a pause a drafter reads what it missed: that is this text's to pay for, and no cost of a draft.
  const double share = seconds / static_cast<double>(jobs.size());
  const bool is_usual = std::ranges::all_of(of_job, [](const Request* of) { return of->text.has_drafted_; });
  if (is_usual) cost_.record_drafts(longest, share);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto drafted = static_cast<std::int64_t>(jobs[i].drafts.size());
    Text& text = of_job[i]->text;
    text.step_.drafted = drafted;
    text.step_.drafting = is_usual ? cost_.drafts(drafted) : cost_.drafts_measured(drafted, share);
    text.step_.grade = jobs[i].grade;
    text.step_.checked = text.length_.to_check(drafted, jobs[i].grade, others);
    jobs[i].drafts.resize(static_cast<std::size_t>(text.step_.checked));
    of_job[i]->drafts = std::move(jobs[i].drafts);
  }
}

void Speculation::record(Text& text, std::int64_t accepted) {
  text.step_.accepted = accepted;
  text.length_.record(text.step_);
  text.has_drafted_ = text.step_.drafted > 0;
  text.stats_.count(text.step_.drafted, text.step_.checked, accepted);
}

Checked check_drafts(const Tensor& logits, std::int64_t with_text, std::span<const std::int32_t> drafts,
                     Sampler& sampler, const std::function<bool(std::int32_t)>& keep) {
  Checked checked;
  for (std::size_t i = 0; i <= drafts.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    const Tensor own = logits.rows(row, row + 1);
    const std::span<const float> choices = own.values().first(static_cast<std::size_t>(with_text));
    if (!drafts.empty() && sampler.is_close_call(choices)) {
      checked.is_open = true;
      break;
    }
    const std::int32_t token = sampler.sample(choices);
    sampler.accept(token);
    checked.tokens.push_back(token);
    const bool is_draft = i < drafts.size() && token == drafts[i];
    checked.accepted += is_draft ? 1 : 0;
    if (!keep(token) || !is_draft) break;
  }
  return checked;
}

}  // namespace fathom
