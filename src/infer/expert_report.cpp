#include "infer/expert_report.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/progress.h"

namespace fathom {

std::string expert_report_text(const ExpertCacheStats& stats) {
  std::string text = fmt::format("experts {:.1f} % in memory", 100 * stats.kept_rate());
  if (stats.guesses > 0)
    text += fmt::format(", {:.1f} % read ahead ({:.0f} % of guesses right)", 100 * stats.ahead_rate(),
                        100 * stats.guess_accuracy());
  text += fmt::format(", {:.1f} % when used; read {} at {:.2f} GB/s, waited {}",
                      100 * (1 - stats.kept_rate() - stats.ahead_rate()), format_bytes(stats.bytes_read),
                      stats.bytes_per_second() * 1e-9, format_duration(stats.wait_seconds));
  return text;
}

OrderedJson expert_report_json(const ExpertCacheStats& stats) {
  return {{"budget_bytes", stats.budget_bytes},
          {"resident_bytes", stats.resident_bytes},
          {"all_bytes", stats.all_bytes},
          {"hits", stats.hits},
          {"arriving", stats.arriving},
          {"misses", stats.misses},
          {"hit_rate", stats.hit_rate()},
          {"kept_rate", stats.kept_rate()},
          {"ahead_rate", stats.ahead_rate()},
          {"guesses", stats.guesses},
          {"right_guesses", stats.right_guesses},
          {"guess_accuracy", stats.guess_accuracy()},
          {"fetched", stats.fetched},
          {"fetched_used", stats.fetched_used},
          {"bytes_read", stats.bytes_read},
          {"read_seconds", stats.read_seconds},
          {"read_bytes_per_second", stats.bytes_per_second()},
          {"wait_seconds", stats.wait_seconds},
          {"reading", stats.reading}};
}

}  // namespace fathom
