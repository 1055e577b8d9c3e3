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

void require_tensor_parallel(const ModelConfig& model, std::int32_t tp) {
  const auto require_divides = [&](std::int64_t size, const char* what) {
    require(size % tp == 0, "tp={} does not divide {} = {}", tp, what, size);
  };
  require_divides(model.num_attention_heads, "num_attention_heads");
  require_divides(model.intermediate_size, "intermediate_size");
  require_divides(model.n_shared_experts * model.moe_intermediate_size, "the width of the shared experts");
}

}  // namespace

PipelineShape pipeline_of(const TrainingTask& task, const TrainingLayout& layout) {
  const std::int64_t together = std::int64_t{layout.dp} * layout.micro_batch;
  require(task.batch % together == 0,
          "a batch of {} sequences is no multiple of {} pipelines times {} sequences: change --batch, dp or "
          "micro-batch",
          task.batch, layout.dp, layout.micro_batch);
  require_tensor_parallel(task.model, layout.tp);
  require(layout.cp == 1 || task.sequence_length % (std::int64_t{2} * layout.cp) == 0,
          "cp={} does not cut sequences of {} tokens into {} equal pieces", layout.cp, task.sequence_length,
          2 * layout.cp);
  require(task.sequence_length % (std::int64_t{layout.tp} * layout.cp) == 0,
          "tp={} and cp={} do not divide sequences of {} tokens", layout.tp, layout.cp, task.sequence_length);
  require(layout.stage_ranks() % layout.ep == 0,
          "ep={} does not divide tp · cp · dp = {}: experts are spread over these", layout.ep,
          layout.stage_ranks());
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
    } else if (key == "tp") {
      layout.tp = layout_number(key, value);
    } else if (key == "cp") {
      layout.cp = layout_number(key, value);
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
      fail("layout: {}: no such key; there are pp, tp, cp, ep, dp, schedule, chunks, micro-batch, recompute",
           printable(key));
    }
  }
  if (!has_schedule)
    layout.schedule = layout.pp % 2 == 0 ? PipelineKind::dualpipe : PipelineKind::one_f_one_b;
  if (!has_dp) {
    const std::int64_t pipeline = std::int64_t{layout.pp} * layout.tp;
    require(pipeline <= devices && devices % (pipeline * layout.cp) == 0,
            "layout: {} devices are no multiple of pp={} times tp={} times cp={}", devices, layout.pp,
            layout.tp, layout.cp);
    layout.dp = static_cast<std::int32_t>(devices / (pipeline * layout.cp));
  }
  require(std::int64_t{layout.pp} * layout.dp <= devices && std::int64_t{layout.tp} * layout.cp <= devices &&
              layout.devices() == devices,
          "layout: pp={} times tp={} times cp={} times dp={} are not {} devices", layout.pp, layout.tp,
          layout.cp, layout.dp, devices);
  return layout;
}

std::string layout_text(const TrainingLayout& layout) {
  std::string text = fmt::format("pp={}", layout.pp);
  if (layout.tp > 1) text += fmt::format(",tp={}", layout.tp);
  if (layout.cp > 1) text += fmt::format(",cp={}", layout.cp);
  text += fmt::format(",ep={},dp={},schedule={}", layout.ep, layout.dp, pipeline_kind_name(layout.schedule));
  if (layout.schedule == PipelineKind::interleaved) text += fmt::format(",chunks={}", layout.chunks);
  return text + fmt::format(",micro-batch={},recompute={}", layout.micro_batch,
                            layout.recompute == Recompute::full ? "full" : "selective");
}

}  // namespace fathom
