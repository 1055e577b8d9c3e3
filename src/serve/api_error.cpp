#include "serve/api_error.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace fathom {

std::string error_json(const ApiError& error) {
  const OrderedJson json = {
      {"message", error.what()},
      {"type", error.type()},
      {"param", error.param().empty() ? OrderedJson(nullptr) : OrderedJson(error.param())},
      {"code", nullptr}};
  return OrderedJson{{"error", json}}.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace fathom
