#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "posttrain/task.h"
#include "posttrain/task_options.h"

namespace fathom {

/// Programs to be written, which are run in a sandbox (posttrain/sandbox.h) on their tests: lines of
/// "question" (or "problem", "prompt") and "tests", and "solution" (a program) where there is one. Tests are
/// a list of objects with "input" and "output", of standard input and standard output (white space at the
/// ends of lines does not count), or a text that is put behind the program, which must then end with status
/// 0. Behind a Python program it must also be reached: a program that ends itself first fails. (One that
/// reads its own file to cheat does not: tests by input and output are the stronger ones.)
std::unique_ptr<Task> make_program_task(const TaskOptions& options, const TaskRules& rules);
extern const std::vector<TaskOption> kProgramOptions;

/// The program that an answer (its `final_part`) gives: its last block between lines of ```, or all of it.
std::string extract_program(std::string_view answer);

}  // namespace fathom
