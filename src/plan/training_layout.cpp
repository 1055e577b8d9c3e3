#include "plan/training_layout.h"

#include <fmt/core.h>

#include <charconv>
#include <limits>
#include <optional>

#include "base/error.h"

namespace fathom {
namespace {

std::int32_t layout_number(std::string_view key, std::string_view value) {
  std::int32_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  require(error == std::errc() && end == value.data() + value.size() && number >= 1,
          "layout: {}={}: must be a whole number of at least 1", printable(key), printable(value));
  return number;
}

PipelineKind layout_schedule(std::string_view value) {
  const std::optional<PipelineKind> kind = pipeline_kind_named(value);
  require(kind.has_value(), "layout: schedule={}: must be 1f1b, interleaved, zb1p, dualpipe or dualpipev",
          printable(value));
  return *kind;
}

Recompute layout_recompute(std::string_view value) {
  require(value == "selective" || value == "full", "layout: recompute={}: must be selective or full",
          printable(value));
  return value == "full" ? Recompute::full : Recompute::selective;
}

}  // namespace

std::int64_t parameter_holders(const TrainingLayout& layout) {
  return std::int64_t{layout.dp} * (layout.schedule == PipelineKind::dualpipe ? 2 : 1);
}

PipelineShape pipeline_of(const TrainingTask& task, const TrainingLayout& layout) {
  const std::int64_t together = std::int64_t{layout.dp} * layout.micro_batch;
  require(task.batch % together == 0,
          "a batch of {} sequences is no multiple of {} pipelines times {} sequences: change --batch, dp or "
          "micro-batch",
          task.batch, layout.dp, layout.micro_batch);
  require(layout.dp % layout.ep == 0, "ep={} does not divide dp={}: experts are spread over pipelines",
          layout.ep, layout.dp);
  require(layout.ep == 1 || task.model.n_routed_experts % layout.ep == 0,
          "ep={} does not divide the {} routed experts", layout.ep, task.model.n_routed_experts);
  require(layout.chunks == 1 || layout.schedule == PipelineKind::interleaved,
          "chunks={}: stages on a rank can be chosen for interleaved schedules alone", layout.chunks);
  const std::int64_t micro_batches = task.batch / together;
  require(micro_batches <= std::numeric_limits<std::int16_t>::max(),
          "{} micro-batches in each pipeline are too many: take a larger micro-batch or dp", micro_batches);
  const std::int64_t stages = layout.schedule == PipelineKind::dualpipe_v
                                  ? std::int64_t{layout.pp} * 2
                                  : std::int64_t{layout.pp} * layout.chunks;
  require(stages <= std::numeric_limits<std::int16_t>::max(), "{} stages are too many", stages);
  const PipelineShape shape = {.kind = layout.schedule,
                               .stages = static_cast<std::int32_t>(stages),
                               .micro_batches = static_cast<std::int32_t>(micro_batches),
                               .stages_per_rank = layout.chunks};
  check_shape(shape);
  return shape;
}

TrainingLayout parse_layout(std::string_view text, std::int64_t devices) {
  TrainingLayout layout;
  bool has_schedule = false;
  bool has_dp = false;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    const std::size_t equals = part.find('=');
    require(equals != std::string_view::npos, "layout: {}: must be key=value", printable(part));
    const std::string_view key = part.substr(0, equals);
    const std::string_view value = part.substr(equals + 1);
    if (key == "pp") {
      layout.pp = layout_number(key, value);
    } else if (key == "ep") {
      layout.ep = layout_number(key, value);
    } else if (key == "dp") {
      layout.dp = layout_number(key, value);
      has_dp = true;
    } else if (key == "chunks") {
      layout.chunks = layout_number(key, value);
    } else if (key == "micro-batch") {
      layout.micro_batch = layout_number(key, value);
    } else if (key == "schedule") {
      layout.schedule = layout_schedule(value);
      has_schedule = true;
    } else if (key == "recompute") {
      layout.recompute = layout_recompute(value);
    } else {
      fail("layout: {}: no such key; there are pp, ep, dp, schedule, chunks, micro-batch, recompute",
           printable(key));
    }
  }
  if (!has_schedule)
    layout.schedule = layout.pp % 2 == 0 ? PipelineKind::dualpipe : PipelineKind::one_f_one_b;
  if (!has_dp) {
    require(devices % layout.pp == 0, "layout: {} devices are no multiple of pp={}", devices, layout.pp);
    layout.dp = static_cast<std::int32_t>(devices / layout.pp);
  }
  require(layout.devices() == devices, "layout: pp={} times dp={} are {} devices, not {}", layout.pp,
          layout.dp, layout.devices(), devices);
  return layout;
}

std::string layout_text(const TrainingLayout& layout) {
  std::string text = fmt::format("pp={},ep={},dp={},schedule={}", layout.pp, layout.ep, layout.dp,
                                 pipeline_kind_name(layout.schedule));
  if (layout.schedule == PipelineKind::interleaved) text += fmt::format(",chunks={}", layout.chunks);
  return text + fmt::format(",micro-batch={},recompute={}", layout.micro_batch,
                            layout.recompute == Recompute::full ? "full" : "selective");
}

}  // namespace fathom
