#pragma once

#include <string_view>

namespace fathom {

/// The page of `Report`: its script draws the JSON that replaces "/*DATA*/". Nothing in it asks the network.
extern const std::string_view kReportPage;

}  // namespace fathom
