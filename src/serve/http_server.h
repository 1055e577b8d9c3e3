#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "infer/engine.h"
#include "model/expert_cache.h"
#include "text/tokenizer.h"

namespace fathom {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8080;                    // 0: any that is free
  std::string model;                  // the name that clients know the model by
  std::size_t max_body = 8U << 20U;   // bytes
  std::size_t max_connections = 192;  // served at once; each takes a thread that mostly sleeps
};

/// The HTTP side of serving: `POST /v1/completions`, `GET /v1/models`, `GET /health`, with requests, answers,
/// streams (server-sent events) and errors as OpenAI's API has them. A client that goes away cancels its
/// request.
class HttpServer {
 public:
  /// Binds the port. Keeps references. Throws `Error` naming the address where that fails.
  /// @param experts  what the model reads experts through, for GET /health; null: it does not
  HttpServer(Engine& engine, const Tokenizer& tokenizer, const HttpOptions& options,
             const ExpertCache* experts = nullptr);
  /// Ends what `drain` has not.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] int port() const;

  /// Answers what is under way, refuses all else, and returns when all has been sent. The engine drains, too.
  void drain();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fathom
