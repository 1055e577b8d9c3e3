#pragma once

#include <filesystem>
#include <string>

#include "model/config.h"
#include "train/data_manifest.h"
#include "train/report.h"
#include "train/training_config.h"

namespace fathom {

/// What is trained, on what, and how, for the head of the report.
Report::Facts run_facts(const ModelConfig& config, const TrainingConfig& training,
                        const DataManifest& manifest);

/// The folder's own name, however its path is written ("runs/a/", ".").
std::string run_name(const std::filesystem::path& folder);

/// Says in the log which training values differ from those that the run was started with.
/// @param file  the run's config.json; it may be absent
void warn_of_changes(const std::filesystem::path& file, const TrainingConfig& training);

/// The run's config.json: the model's config with its `training` section, all defaults written out.
void write_run_config(const std::filesystem::path& file, const ModelConfig& config,
                      const TrainingConfig& training);

}  // namespace fathom
