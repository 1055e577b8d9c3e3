#pragma once

#include <string>

#include "base/error.h"

namespace fathom {

/// What a client is told, in the form of OpenAI's API.
class ApiError : public Error {
 public:
  /// @param status  of HTTP
  /// @param type    "invalid_request_error", "rate_limit_error", "server_error"
  /// @param param   the field of the request that is wrong; empty: none in particular
  ApiError(int status, std::string type, const std::string& message, std::string param = {})
      : Error(message), status_(status), type_(std::move(type)), param_(std::move(param)) {}

  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] const std::string& type() const { return type_; }
  [[nodiscard]] const std::string& param() const { return param_; }

 private:
  int status_;
  std::string type_;
  std::string param_;
};

/// A request that is wrong in one field.
inline ApiError bad_request(const std::string& message, std::string param = {}) {
  return {400, "invalid_request_error", message, std::move(param)};
}

/// {"error": {...}}.
std::string error_json(const ApiError& error);

}  // namespace fathom
