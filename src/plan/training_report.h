#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "plan/layout_search.h"

namespace fathom {

/// What an estimate is of, beside its numbers.
struct ReportedTraining {
  const TrainingEstimator& estimator;
  TrainingEstimate estimate;
  std::string model;  // its name
};

/// Sections of names and values: model, memory of a device, all-to-all, a step, the whole training, and the
/// assumptions that went in.
std::string training_text(const ReportedTraining& training);
/// The same for programs: plain numbers, bytes and seconds.
OrderedJson training_json(const ReportedTraining& training);
/// The same as a page that needs no network, with the pipeline of a step where it is not too large to draw.
std::string training_page(const ReportedTraining& training);

/// A row for each of the layouts that were found.
std::string search_text(const TrainingEstimator& estimator, const LayoutSearch& search);
OrderedJson search_json(const TrainingEstimator& estimator, const LayoutSearch& search);

}  // namespace fathom
