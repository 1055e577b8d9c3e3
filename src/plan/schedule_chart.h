#pragma once

#include <span>
#include <string>

#include "plan/schedule_comparison.h"

namespace fathom {

/// Gantt charts of the schedules that exist
/// below one another, on one scale of time, as an SVG picture that needs
/// nothing else and suits light and dark pages: ranks are rows, blocks are what they compute, labelled by
/// micro-batch. Kinds of blocks differ in lightness or hatching too, so that they can be told apart in grey.
/// Throws `Error` where there is nothing to draw or too much for a picture (100,000 blocks).
std::string schedules_svg(std::span<const ComparedSchedule> schedules);

}  // namespace fathom
