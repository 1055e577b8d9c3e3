#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "dist/timed_action.h"

namespace fathom {

struct Span {
  double begin = 0;
  double end = 0;
};

/// What one rank did in a step, in seconds.
struct RankTimeline {
  std::vector<TimedAction> actions;
  std::vector<Span> messages;  // to ranks that share experts with it, on its link
  std::vector<Span> incoming;  // the same from those ranks
  std::vector<Span> stalls;    // when it stood still and one of the latter was under way
};

/// Ascending spans without overlaps, of spans in any order.
std::vector<Span> joined_spans(std::vector<Span> spans);
/// What is in both of two ascending lists.
std::vector<Span> common_spans(const std::vector<Span>& a, const std::vector<Span>& b);

/// How much of the spans lies in the phases.
double time_within(const std::vector<Span>& phases, const std::vector<Span>& spans);

/// When a rank has overlapped pairs: from the first one's beginning to the last one's end; empty without any.
std::vector<Span> steady_phase(const RankTimeline& rank);

/// A picture of a step: of each rank what it computes, under it when messages are under way on its link, and
/// in red when it stands still for one.
std::string timeline_svg(const std::string& title, const std::vector<RankTimeline>& ranks);

}  // namespace fathom
