#include "train/report.h"

#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "train/report_page.h"

namespace fathom {
namespace {

constexpr std::size_t kMostHeatMaps = 60;

/// Six significant digits are more than a picture shows, and keep the page small.
OrderedJson short_number(double value) {
  if (!std::isfinite(value)) return nullptr;
  return OrderedJson::parse(fmt::format("{:.6g}", value));
}

OrderedJson to_json(const Curve& curve) {
  OrderedJson points = OrderedJson::array();
  for (const Curve::Point& point : curve.points())
    points.push_back({short_number(point.x), short_number(point.y)});
  return points;
}

OrderedJson to_json(const std::vector<std::vector<double>>& rows) {
  OrderedJson json = OrderedJson::array();
  for (const std::vector<double>& row : rows) {
    OrderedJson values = OrderedJson::array();
    for (const double value : row) values.push_back(short_number(value));
    json.push_back(std::move(values));
  }
  return json;
}

OrderedJson to_json(const std::vector<Curve>& curves) {
  OrderedJson json = OrderedJson::array();
  for (const Curve& curve : curves) json.push_back(to_json(curve));
  return json;
}

/// Adds a value to each curve; there come to be as many as there are values.
void add_all(std::vector<Curve>& curves, double x, const std::vector<double>& values) {
  if (curves.size() < values.size()) curves.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) curves[i].add(x, values[i]);
}

/// The curve of a name, a new one for a new name.
Curve& curve_of(std::vector<std::pair<std::string, Curve>>& curves, const std::string& name) {
  for (auto& [known, curve] : curves)
    if (known == name) return curve;
  return curves.emplace_back(name, Curve()).second;
}

/// `text` for use inside a <script> element, where "</script>" would end it.
std::string script_safe(const std::string& json) {
  std::string safe;
  safe.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

}  // namespace

void Curve::add(double x, double y) {
  sum_.x += x;
  sum_.y += y;
  if (++pending_ < stride_) return;
  whole_.push_back({sum_.x / static_cast<double>(stride_), sum_.y / static_cast<double>(stride_)});
  sum_ = {};
  pending_ = 0;
  if (whole_.size() < 2 * kMostPoints) return;
  for (std::size_t i = 0; i < kMostPoints; ++i)
    whole_[i] = {(whole_[2 * i].x + whole_[2 * i + 1].x) / 2, (whole_[2 * i].y + whole_[2 * i + 1].y) / 2};
  whole_.resize(kMostPoints);
  stride_ *= 2;
}

std::vector<Curve::Point> Curve::points() const {
  std::vector<Point> points = whole_;
  if (pending_ > 0)
    points.push_back({sum_.x / static_cast<double>(pending_), sum_.y / static_cast<double>(pending_)});
  return points;
}

Report::Report(std::string title, Facts facts, std::vector<std::string> moe_layers, std::int64_t total_steps)
    : title_(std::move(title)),
      facts_(std::move(facts)),
      moe_layers_(std::move(moe_layers)),
      total_steps_(total_steps),
      layer_max_vio_(moe_layers_.size()),
      held_out_layer_max_vio_(moe_layers_.size()) {}

void Report::add(const StepMetrics& metrics) {
  const auto x = static_cast<double>(metrics.step);
  loss_.add(x, metrics.loss);
  if (metrics.mtp_loss) mtp_loss_.add(x, *metrics.mtp_loss);
  learning_rate_.add(x, metrics.learning_rate);
  gradient_norm_.add(x, metrics.gradient_norm);
  if (metrics.max_vio) max_vio_.add(x, *metrics.max_vio);
  add_all(layer_max_vio_, x, metrics.layer_max_vio);
  batch_size_.add(x, static_cast<double>(metrics.batch_size));
  mtp_loss_factor_.add(x, metrics.mtp_loss_factor);
  router_bias_update_rate_.add(x, metrics.router_bias_update_rate);
  tokens_per_second_.add(x, metrics.tokens_per_second);
  last_step_ = metrics;
}

void Report::add(const EvalMetrics& metrics) {
  const auto x = static_cast<double>(metrics.step);
  held_out_loss_.add(x, metrics.loss);
  if (metrics.averaged_loss) held_out_averaged_loss_.add(x, *metrics.averaged_loss);
  bits_per_byte_.add(x, metrics.bits_per_byte);
  if (metrics.max_vio) held_out_max_vio_.add(x, *metrics.max_vio);
  if (metrics.needle_accuracy) needle_accuracy_.add(x, *metrics.needle_accuracy);
  add_all(draft_acceptance_, x, metrics.draft_acceptance);
  add_all(sampled_draft_acceptance_, x, metrics.sampled_draft_acceptance);
  if (metrics.batch_max_vio) held_out_batch_max_vio_.add(x, *metrics.batch_max_vio);
  add_all(held_out_layer_max_vio_, x, metrics.layer_max_vio);
  for (const SourceLoss& one : metrics.source_loss) curve_of(source_loss_, one.source).add(x, one.loss);
  // A map that an older version wrote may lack, or lack layers.
  const bool has_map = !metrics.expert_load.empty() && metrics.expert_load.size() == moe_layers_.size();
  if (evaluations_++ % heat_map_stride_ == 0 && has_map) {
    heat_maps_.push_back({metrics.step, metrics.expert_load});
    if (heat_maps_.size() > kMostHeatMaps) {
      std::size_t kept = 0;
      for (std::size_t i = 0; i < heat_maps_.size(); i += 2) heat_maps_[kept++] = std::move(heat_maps_[i]);
      heat_maps_.resize(kept);
      heat_map_stride_ *= 2;
    }
  }
  last_eval_ = metrics;
  if (!has_map) last_eval_.expert_load.clear();
}

void Report::write(const std::filesystem::path& file) const {
  OrderedJson data;
  data["title"] = title_;
  data["facts"] = facts_;
  data["total_steps"] = total_steps_;
  data["step"] = last_step_.step;
  data["tokens"] = last_step_.tokens;
  data["evaluated"] = evaluations_ > 0;
  data["curves"] = {{"loss", to_json(loss_)},
                    {"held_out_loss", to_json(held_out_loss_)},
                    {"held_out_averaged_loss", to_json(held_out_averaged_loss_)},
                    {"bits_per_byte", to_json(bits_per_byte_)},
                    {"mtp_loss", to_json(mtp_loss_)},
                    {"learning_rate", to_json(learning_rate_)},
                    {"gradient_norm", to_json(gradient_norm_)},
                    {"max_vio", to_json(max_vio_)},
                    {"held_out_max_vio", to_json(held_out_max_vio_)},
                    {"held_out_batch_max_vio", to_json(held_out_batch_max_vio_)},
                    {"batch_size", to_json(batch_size_)},
                    {"mtp_loss_factor", to_json(mtp_loss_factor_)},
                    {"router_bias_update_rate", to_json(router_bias_update_rate_)},
                    {"tokens_per_second", to_json(tokens_per_second_)}};
  data["layers"] = moe_layers_;
  data["layer_max_vio"] = to_json(layer_max_vio_);
  data["needle_accuracy"] = to_json(needle_accuracy_);
  data["needle_picture"] = needle_picture_;
  data["draft_acceptance"] = to_json(draft_acceptance_);
  data["sampled_draft_acceptance"] = to_json(sampled_draft_acceptance_);
  data["tokens_per_step"] =
      last_eval_.tokens_per_step ? short_number(*last_eval_.tokens_per_step) : OrderedJson(nullptr);
  data["held_out_layer_max_vio"] = to_json(held_out_layer_max_vio_);
  data["source_loss"] = OrderedJson::array();
  for (const auto& [name, curve] : source_loss_)
    data["source_loss"].push_back({{"name", name}, {"points", to_json(curve)}});
  data["heat"] = OrderedJson::array();
  for (const HeatMap& map : heat_maps_)
    data["heat"].push_back({{"step", map.step}, {"load", to_json(map.load)}});
  if (!heat_maps_.empty() && heat_maps_.back().step != last_eval_.step && !last_eval_.expert_load.empty())
    data["heat"].push_back({{"step", last_eval_.step}, {"load", to_json(last_eval_.expert_load)}});

  std::string page(kReportPage);
  constexpr std::string_view kPlace = "/*DATA*/";
  page.replace(page.find(kPlace), kPlace.size(),
               script_safe(data.dump(-1, ' ', false, OrderedJson::error_handler_t::replace)));
  write_file_atomically(file, page);
}

}  // namespace fathom
