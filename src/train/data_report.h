#pragma once

#include <string>

#include "base/json.h"
#include "train/data_manifest.h"

namespace fathom {

/// What a data folder holds, for `fathom prepare --json` and `fathom inspect --json`.
OrderedJson data_to_json(const DataManifest& manifest);

/// The same as a table for people, whole lines.
std::string data_to_text(const DataManifest& manifest);

}  // namespace fathom
