#include "infer/speculation.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "infer/draft_length.h"

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
  return {drafter_.begin(capacity), drafter_.expected_acceptance()};
}

void Speculation::begin_again(Text& text, std::int64_t capacity) const {
  text.state_ = drafter_.begin(capacity);
}

void Speculation::read(Text& text, std::span<const std::int32_t> tokens, const Tensor& hidden) const {
  drafter_.read(*text.state_, tokens, hidden);
}

std::vector<std::int64_t> Speculation::lengths(std::span<const Request> requests, bool is_drafted,
                                               std::int64_t others) const {
  std::vector<DraftingText> texts;
  std::vector<std::int64_t> most;
  for (const Request& request : requests) {
    const Text::Step& step = request.text.step_;
    most.push_back(is_drafted ? step.drafted : std::min(request.room, options_.most_drafts));
    texts.push_back(
        {request.text.history_, most.back(), step.grade, !request.text.has_drafted_, step.drafting});
  }
  if (!options_.adaptive) return most;
  return is_drafted ? lengths_to_check(cost_, texts, others) : lengths_to_draft(cost_, texts, others);
}

void Speculation::draft(const Context& context, std::span<Request> requests, std::int64_t others) {
  const std::int64_t plain_tokens = others + static_cast<std::int64_t>(requests.size());
  for (Request& request : requests) {
    request.drafts.clear();
    request.text.step_ = {.plain_tokens = plain_tokens};
  }
  const std::vector<std::int64_t> wanted = lengths(requests, false, others);
  std::vector<Drafter::Job> jobs;
  std::vector<Request*> of_job;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (wanted[i] == 0) continue;
    Request& request = requests[i];
    jobs.push_back({*request.text.state_, request.next, wanted[i], request.sampler});
    of_job.push_back(&request);
  }
  if (jobs.empty()) return;
  const auto start = std::chrono::steady_clock::now();
  drafter_.draft(context, jobs);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  settle_drafts(jobs, of_job, seconds);
  const std::vector<std::int64_t> checked = lengths(requests, true, others);
  std::int64_t all_checked = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].drafts.resize(static_cast<std::size_t>(checked[i]));
    requests[i].text.step_.checked = checked[i];
    all_checked += checked[i];
  }
  for (Request& request : requests) request.text.step_.all_checked = all_checked;
}

void Speculation::settle_drafts(std::span<Drafter::Job> jobs, std::span<Request* const> of_job,
                                double seconds) {
  std::vector<std::int64_t> lengths;
  for (const Drafter::Job& job : jobs) lengths.push_back(std::ssize(job.drafts));
  // Behind a pause a drafter reads what it missed: that is for these texts to pay, and no cost of a draft.
  const auto resuming =
      std::ranges::count_if(of_job, [](const Request* of) { return !of->text.has_drafted_; });
  if (resuming == 0) cost_.record_drafts(lengths, seconds);
  if (resuming == std::ssize(of_job)) cost_.record_resuming(lengths, seconds);
  const std::vector<double> parts = cost_.drafting(lengths);
  const double usual = std::accumulate(parts.begin(), parts.end(), 0.0);
  const double more = resuming == 0 ? 0.0 : cost_.drafts_measured(usual, seconds) - usual;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    Text::Step& step = of_job[i]->text.step_;
    step.drafted = lengths[i];
    step.drafting = parts[i] + (of_job[i]->text.has_drafted_ ? 0.0 : more / static_cast<double>(resuming));
    step.grade = jobs[i].grade;
    of_job[i]->drafts = std::move(jobs[i].drafts);
  }
}

void Speculation::record(Text& text, std::int64_t accepted) {
  const Text::Step& step = text.step_;
  // Drafts of all texts together made the pass longer: each text pays for its part of them.
  const double plain = cost_.pass(step.plain_tokens);
  double extra = step.drafting;
  if (step.checked > 0)
    extra += (cost_.pass(step.plain_tokens + step.all_checked) - plain) * static_cast<double>(step.checked) /
             static_cast<double>(step.all_checked);
  const double token = plain / static_cast<double>(step.plain_tokens);
  text.history_.record({step.grade, step.checked, accepted, extra / token});
  text.has_drafted_ = step.drafted > 0;
  text.stats_.count(step.drafted, step.checked, accepted);
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
