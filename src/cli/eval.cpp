// `fathom eval`: how many problems of a task a model solves.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "infer/text_model.h"
#include "model/fingerprint.h"
#include "posttrain/answer_engine.h"
#include "posttrain/eval_page.h"
#include "posttrain/eval_record.h"
#include "posttrain/eval_run.h"
#include "posttrain/eval_summary.h"
#include "posttrain/prompt_format.h"
#include "posttrain/task_registry.h"
#include "text/chat_format.h"
#include "train/run_facts.h"

namespace fathom::cli {
namespace {

struct EvalCommand {
  std::string model;
  std::vector<std::string> tasks;
  std::vector<std::string> compare;
  std::string output;
  EvalSettings settings;
  EvalPlan plan;
  bool no_greedy = false;
  AnswerEngineOptions engine;
  ExpertMemory expert_memory;
  std::vector<std::string> lora;
  bool huge_pages = true;
  std::size_t threads = 0;
  bool json = false;
};

std::vector<std::unique_ptr<Task>> make_tasks(const std::vector<std::string>& specs) {
  std::vector<std::unique_ptr<Task>> tasks;
  for (const std::string& spec : specs) {
    tasks.push_back(make_task(spec));
    for (std::size_t i = 0; i + 1 < tasks.size(); ++i)
      if (tasks[i]->name() == tasks.back()->name())
        throw UsageError(fmt::format("task {} is named twice", tasks.back()->name()));
  }
  return tasks;
}

std::string progress_text(const EvalProgress& progress, double seconds) {
  const double rate = static_cast<double>(progress.new_answers) / std::max(seconds, 1e-9);
  std::string text = fmt::format("eval: {} of {} answers", progress.done, progress.all);
  if (progress.new_answers == 0) return text;
  return text +
         fmt::format(", {:.1f} % right, {:.0f} tokens/s, ETA {}",
                     100 * static_cast<double>(progress.right) / static_cast<double>(progress.new_answers),
                     static_cast<double>(progress.new_tokens) / std::max(seconds, 1e-9),
                     format_duration(static_cast<double>(progress.all - progress.done) / rate));
}

/// The answers that the plan asks for, in the log or not yet.
bool ask_model(const EvalCommand& options, const TextModel& model,
               const std::vector<std::unique_ptr<Task>>& tasks, EvalLog& log) {
  ThreadPool pool(options.threads);
  const Transformer transformer(model.config, model.weights, model.config.max_position_embeddings);
  AnswerEngine engine(pool, model, transformer, options.engine);
  const auto format = options.settings.format == "template"
                          ? make_template_format(ChatFormat(model.tokenizer.chat_source()))
                          : make_prompt_format(options.settings.format);
  const InterruptFlag interrupt;
  ProgressLine line;
  const double begin = monotonic_seconds();
  EvalProgress last;
  run_eval(engine, model.tokenizer, *format, tasks, options.settings, options.plan, log,
           [&](const EvalProgress& progress) {
             last = progress;
             line.update(progress_text(progress, monotonic_seconds() - begin));
             return !interrupt.raised();
           });
  line.finish(fmt::format("eval: {} answers in {}, {} of them were there", last.done,
                          format_duration(monotonic_seconds() - begin), last.done - last.new_answers));
  return last.done == last.all;
}

/// "name=file", or a file that names itself.
NamedRecord read_named_record(const std::string& argument) {
  const std::size_t equals = argument.find('=');
  if (equals != std::string::npos && equals > 0 && !std::filesystem::exists(argument))
    return {printable(argument.substr(0, equals)), read_eval_record(argument.substr(equals + 1))};
  return {printable(std::filesystem::path(argument).stem().string()), read_eval_record(argument)};
}

void compare_evaluations(const EvalCommand& options) {
  if (!options.model.empty() || !options.tasks.empty())
    throw UsageError("eval: --compare reads files of answers, and takes neither a model nor --task");
  std::vector<NamedRecord> records;
  for (const std::string& argument : options.compare) records.push_back(read_named_record(argument));
  for (const NamedRecord& one : records)
    require(!one.record.samples.empty(), "{}: holds no answers yet", one.name);
  write_file_atomically(options.output, eval_page(records));
}

void evaluate(EvalCommand options) {
  if (options.model.empty() || options.tasks.empty())
    throw UsageError("eval: name a model and a task, as `fathom eval MODEL --task words --count 200`");
  options.plan.greedy = !options.no_greedy;
  if (!options.plan.greedy && options.plan.samples == 0)
    throw UsageError("eval: with --no-greedy say how many --samples of each problem");
  const auto tasks = make_tasks(options.tasks);
  const Split split = split_of(options.settings.split);
  for (const auto& task : tasks) static_cast<void>(eval_problems(*task, split, options.plan.count));
  std::string& format = options.settings.format;
  if (!format.empty() && format != "template") static_cast<void>(make_prompt_format(format));
  options.expert_memory.reserved_bytes = options.engine.cache_bytes;
  const TextModel model =
      load_text_model(options.model, options.expert_memory, options.lora, options.huge_pages);
  if (format.empty()) format = model.tokenizer.chat_source().chat_template.empty() ? "plain" : "template";
  options.settings.model = run_name(options.model);
  options.settings.fingerprint = fmt::format("{:016x}", model_fingerprint(model.config, model.weights));
  EvalLog log(options.output, options.settings);
  const bool is_whole = ask_model(options, model, tasks, log);
  // Of these tasks and so many problems: the file may hold more.
  std::vector<EvalSample> asked;
  for (const EvalSample& sample : log.samples())
    for (const auto& task : tasks)
      if (sample.task == task->name() && sample.index < eval_problems(*task, split, options.plan.count) &&
          (sample.is_greedy() ? options.plan.greedy : sample.sample < options.plan.samples))
        asked.push_back(sample);
  const std::vector<TaskSummary> summary = summarise(asked);
  if (options.json) {
    fmt::print("{}\n", summary_json(summary).dump(-1, ' ', false, OrderedJson::error_handler_t::replace));
  } else if (!summary.empty()) {
    fmt::print("{}", summary_table(summary));
  }
  if (!is_whole) {
    log_info("ended early: the same command goes on");
    throw ExitStatus{kExitInterrupted};
  }
}

void run_eval_command(const EvalCommand& options) {
  if (options.compare.empty()) {
    evaluate(options);
  } else {
    compare_evaluations(options);
  }
}

void add_generation_options(CLI::App& command, EvalSettings& settings) {
  command.add_option(
      "--format", settings.format,
      "How questions are put: by the model's chat template, plain, deepseek (its chat tokens) or none "
      "(default: template where the model has one, else plain)");
  command.add_option("--prefix", settings.prefix, "Text that each answer begins with, as \"<think>\"");
  command.add_option("--temperature", settings.temperature, "Of samples")
      ->check(CLI::Range(1e-3, 100.0))
      ->capture_default_str();
  command.add_option("--top-p", settings.top_p, "Of samples")
      ->check(CLI::Range(1e-6, 1.0))
      ->capture_default_str();
  command.add_option("--max-tokens", settings.max_tokens, "Tokens of an answer, thinking included")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24))
      ->capture_default_str();
  command
      .add_option(
          "--think-tokens", settings.think_tokens,
          "Thinking budget: a think block that is open after so many tokens is closed, and the answer "
          "follows; 0: none")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24))
      ->capture_default_str();
}

}  // namespace

void add_eval(CLI::App& app) {
  auto options = std::make_shared<EvalCommand>();
  CLI::App* command =
      app.add_subcommand("eval", "How many problems of a task a model solves: pass@1, pass@k, maj@k");
  command->add_option("model", options->model, kModelHelp);
  command
      ->add_option("--task", options->tasks,
                   "As gsm8k:path=FOLDER; `fathom task --list` names all; may be given several times")
      ->allow_extra_args(false);
  command->add_option(
      "--compare", options->compare,
      "Instead: files of answers, or NAME=FILE, to set beside one another in the page --output");
  command
      ->add_option("-o,--output", options->output,
                   "JSONL file of all answers; what is there already is not asked again")
      ->required();
  command->add_option("--split", options->settings.split, "test or train")->capture_default_str();
  command
      ->add_option("--count", options->plan.count, "Problems of each task (default: all of those in files)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 32));
  command
      ->add_option("--samples", options->plan.samples,
                   "Sampled answers to each problem, beside the greedy one")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{4096}))
      ->capture_default_str();
  command->add_flag("--no-greedy", options->no_greedy, "No greedy answers");
  command->add_option("--seed", options->settings.seed, "Of problems and samples; 0 keeps the order of files")
      ->check(at_least(0))
      ->capture_default_str();
  add_generation_options(*command, options->settings);
  command->add_option("--batch", options->engine.at_once, "Answers under way at once")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}))
      ->capture_default_str();
  command
      ->add_option("--cache-memory", options->engine.cache_bytes,
                   "Of latent caches, as 500M or 8G (default: 2G)")
      ->transform(CLI::AsSizeValue(false));
  add_cache_type_option(*command, options->engine.cache_type);
  add_expert_memory_option(*command, options->expert_memory);
  add_huge_pages_option(*command, options->huge_pages);
  add_lora_option(*command, options->lora);
  add_threads_option(*command, options->threads);
  command->add_flag("--json", options->json, "Print the figures as JSON");
  command->footer(
      "Example:\n"
      "  fathom eval runs/sft --task gsm8k:path=gsm8k --samples 8 --output sft.jsonl\n"
      "  fathom eval --compare base.jsonl sft.jsonl --output sft.html\n\n"
      "Intervals hold 95 %: Wilson's for greedy answers, else of a bootstrap over problems.");
  command->callback([options] { run_eval_command(*options); });
}

}  // namespace fathom::cli
