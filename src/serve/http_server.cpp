#include "serve/http_server.h"

#include <fmt/core.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "infer/expert_report.h"
#include "serve/api_error.h"
#include "serve/completion_json.h"
#include "serve/completion_request.h"
#include "serve/completion_sender.h"
#include "serve/http_library.h"

namespace fathom {
namespace {

constexpr const char* kJsonType = "application/json";
/// Connections beyond those that completions may take: for health checks, and to say that there are too many.
constexpr std::size_t kSpareConnections = 16;

void respond(httplib::Response& response, int status, const std::string& json) {
  response.status = status;
  response.set_content(json, kJsonType);
}

void respond(httplib::Response& response, const ApiError& error) {
  respond(response, error.status(), error_json(error));
}

/// A member of /health, behind others.
std::string prefixes_text(const PrefixTiers::Stats& stats) {
  return fmt::format(
      R"(,"prefixes":{{"memory_bytes":{},"memory_pages":{},"loaded_from_memory":{},"folder_bytes":{},)"
      R"("loaded_from_folder":{}}})",
      stats.memory_bytes, stats.memory_pages, stats.loaded_from_memory, stats.folder_bytes,
      stats.loaded_from_folder);
}

/// What the engine's refusals mean to a client.
ApiError refusal(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const ApiError& known) {
    return known;
  } catch (const QueueIsFull& full) {
    return {429, "rate_limit_error", full.what()};
  } catch (const EngineHasEnded& ended) {
    return {503, "server_error", ended.what()};
  } catch (const Error& wrong) {
    return bad_request(wrong.what());
  } catch (const std::exception& other) {
    return {500, "server_error", other.what()};
  }
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(Engine& engine, const Tokenizer& tokenizer, HttpOptions options, const ExpertCache* experts)
      : engine_(engine), tokenizer_(tokenizer), options_(std::move(options)), experts_(experts) {
    server_.new_task_queue = [this] {
      return new httplib::ThreadPool(options_.max_connections + kSpareConnections);  // the server deletes it
    };
    server_.set_payload_max_length(options_.max_body);
    server_.set_tcp_nodelay(true);
    // Not the library's own SO_REUSEPORT, by which two servers would share a port unawares.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    server_.set_keep_alive_timeout(2);
    server_.Post("/v1/completions",
                 [this](const auto& request, auto& response) { complete(request, response); });
    server_.Get("/v1/models", [this](const auto&, auto& response) {
      respond(response, 200, models_json(options_.model, started_));
    });
    server_.Get("/health", [this](const auto&, auto& response) {
      const CacheHits hits = engine_.hits();
      const SpeculationStats drafts = engine_.speculation();
      respond(response, 200,
              fmt::format(
                  R"({{"status":"{}","requests":{},"waiting":{},"sending":{},"prompt_tokens":{},)"
                  R"("cached_tokens":{},"drafted_tokens":{},"checked_tokens":{},)"
                  R"("accepted_tokens":{}{}{}}})",
                  is_draining_ ? "ending" : "ok", engine_.under_way(), engine_.waiting(), sending_.count(),
                  hits.prompt_tokens, hits.cached_tokens, drafts.drafted, drafts.checked, drafts.accepted,
                  engine_.tiers() == nullptr ? "" : prefixes_text(engine_.tiers()->stats()),
                  experts_ == nullptr
                      ? ""
                      : fmt::format(R"(,"experts":{})", expert_report_json(experts_->stats()).dump())));
    });
    server_.set_exception_handler([](const auto&, auto& response, const std::exception_ptr& error) {
      respond(response, refusal(error));
    });
    server_.set_error_handler([](const httplib::Request& request, httplib::Response& response) {
      if (!response.body.empty()) return;
      respond(response,
              ApiError(response.status, "invalid_request_error", text_of_status(request, response)));
    });
    port_ = options_.port == 0                                   ? server_.bind_to_any_port(options_.host)
            : server_.bind_to_port(options_.host, options_.port) ? options_.port
                                                                 : -1;
    require(port_ > 0, "cannot listen on {} port {}: is another server there? Choose another with --port",
            options_.host, options_.port);
    listening_ = std::thread([this] {
      server_.listen_after_bind();
      has_stopped_ = true;
    });
  }

  ~Impl() {
    is_draining_ = true;
    // A server that has not begun to listen would not hear the call.
    while (!server_.is_running() && !has_stopped_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    server_.stop();
    listening_.join();
  }

  [[nodiscard]] int port() const { return port_; }

  void drain() {
    is_draining_ = true;
    engine_.drain();
    sending_.wait_for_none();
  }

 private:
  static std::string text_of_status(const httplib::Request& request, const httplib::Response& response) {
    switch (response.status) {
      case 404:
        return fmt::format("there is no {} {} here", request.method, request.path);
      case 413:
        return "the body is too long";
      default:
        return fmt::format("the request cannot be read (HTTP {})", response.status);
    }
  }

  void complete(const httplib::Request& http, httplib::Response& response) {
    if (is_draining_) throw ApiError(503, "server_error", "the server is ending: no more requests are taken");
    CompletionRequest request = read_completion_request(http.body);
    if (!request.model.empty() && request.model != options_.model)
      throw ApiError(
          404, "invalid_request_error",
          fmt::format("there is no model {} here, but {}", printable(request.model), options_.model),
          "model");
    request.options.sampling.seed = request.seed ? *request.seed : random_number();
    std::vector<std::int32_t> prompt;
    if (const std::string* text = std::get_if<std::string>(&request.prompt)) {
      prompt = tokenizer_.encode(*text);
    } else {
      prompt = std::get<std::vector<std::int32_t>>(request.prompt);
    }
    if (!sending_.enter(options_.max_connections))
      throw ApiError(
          429, "rate_limit_error",
          fmt::format("{} requests are being answered: try again later", options_.max_connections));
    const CompletionLabel label{fmt::format("cmpl-{:016x}", random_number()), std::time(nullptr),
                                options_.model};
    const auto sending = std::make_shared<CompletionSender>(engine_, sending_, label, request);
    sending->submit(std::move(prompt), request.options);
    response.set_chunked_content_provider(
        sending->content_type(),
        [sending](std::size_t, httplib::DataSink& sink) { return sending->send(sink); });
  }

  std::uint64_t random_number() {
    const std::scoped_lock lock(random_mutex_);
    return std::uniform_int_distribution<std::uint64_t>()(random_);
  }

  Engine& engine_;
  const Tokenizer& tokenizer_;
  HttpOptions options_;
  const ExpertCache* experts_;
  std::int64_t started_ = std::time(nullptr);
  std::mutex random_mutex_;
  std::mt19937_64 random_{std::random_device{}()};
  SendingCount sending_;
  std::atomic<bool> is_draining_ = false;
  std::atomic<bool> has_stopped_ = false;
  httplib::Server server_;
  int port_ = -1;
  std::thread listening_;
};

HttpServer::HttpServer(Engine& engine, const Tokenizer& tokenizer, const HttpOptions& options,
                       const ExpertCache* experts)
    : impl_(std::make_unique<Impl>(engine, tokenizer, options, experts)) {}

HttpServer::~HttpServer() = default;

int HttpServer::port() const {
  return impl_->port();
}

void HttpServer::drain() {
  impl_->drain();
}

}  // namespace fathom
